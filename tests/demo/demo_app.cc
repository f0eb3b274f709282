// An application process of the demo, as a C++ service would be written.
//
// usage: demo_app NAME EMBED_SERVICE REVIEWS SENTENCES ROUNDS SHOWN
//
// Classifies every review on its own, ROUNDS times over; embeds all sentences in one call; prints
// labels (three, from review SHOWN on), nearest sentences, latencies and its own memory. Then it
// writes a line to descriptor 3 and stays connected until its standard input ends.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shm/client.h"

namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> read_lines(const char* path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

double milliseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

// This process's memory in MB; shared pages that it touched are counted apart.
void print_memory() {
  std::ifstream status("/proc/self/status");
  double own = 0;
  double shared = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:") || line.starts_with("RssFile:"))
      own += std::stod(line.substr(8));
    if (line.starts_with("RssShmem:")) shared += std::stod(line.substr(9));
  }
  std::printf("  memory      %.1f MB, and %.1f MB shared with the sidecar\n", own / 1024,
              shared / 1024);
}

int failed(const nacelle::base::Error& error) {
  std::fprintf(stderr, "demo_app: %s\n", error.message.c_str());
  return 1;
}

float dot(std::span<const float> a, std::span<const float> b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: demo_app NAME EMBED_SERVICE REVIEWS SENTENCES ROUNDS SHOWN\n");
    return 2;
  }
  const std::string_view embed_service = argv[2];
  const std::vector<std::string> reviews = read_lines(argv[3]);
  const std::vector<std::string> sentences = read_lines(argv[4]);
  const int rounds = std::stoi(argv[5]);
  const std::size_t shown = std::stoul(argv[6]);

  auto connected = nacelle::Client::connect({.name = argv[1]});
  if (!connected) return failed(connected.error());
  nacelle::Client& client = **connected;

  std::vector<double> latencies;
  std::vector<nacelle::Classification> labels(reviews.size());
  std::uint32_t batch_texts = 0;
  std::uint32_t batch_clients = 0;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < reviews.size(); ++i) {
      const std::string_view text = reviews[i];
      nacelle::CallReport report;
      const auto start = Clock::now();
      auto answer = client.classify("sentiment", {&text, 1}, {}, &report);
      if (!answer) return failed(answer.error());
      latencies.push_back(milliseconds(start));
      labels[i] = answer->front();
      batch_texts = std::max(batch_texts, report.batch_texts);
      batch_clients = std::max(batch_clients, report.batch_clients);
    }
  }

  const std::vector<std::string_view> views(sentences.begin(), sentences.end());
  const auto start = Clock::now();
  const auto vectors = client.embed(embed_service, views);
  if (!vectors) return failed(vectors.error());
  const double embed_ms = milliseconds(start);

  std::printf("%s (C++)\n", argv[1]);
  for (std::size_t i = shown; i < shown + 3 && i < reviews.size(); ++i) {
    std::printf("  %-8s %.3f  %s\n", labels[i].label.c_str(), static_cast<double>(labels[i].score),
                reviews[i].c_str());
  }
  for (const std::size_t i : {shown / 2, shown / 2 + 1}) {
    std::size_t nearest = i == 0 ? 1 : 0;
    for (std::size_t j = 0; j < sentences.size(); ++j) {
      if (j != i &&
          dot(vectors->row(i), vectors->row(j)) > dot(vectors->row(i), vectors->row(nearest))) {
        nearest = j;
      }
    }
    std::printf("  nearest to  %s\n       %.3f  %s\n", sentences[i].c_str(),
                static_cast<double>(dot(vectors->row(i), vectors->row(nearest))),
                sentences[nearest].c_str());
  }
  std::printf(
      "  calls       %zu single classify calls: p50 %.2f ms, p99 %.2f ms; %zu sentences embedded "
      "in %.1f ms\n",
      latencies.size(), percentile(latencies, 0.5), percentile(latencies, 0.99), sentences.size(),
      embed_ms);
  std::printf("  batches     up to %u texts of %u processes ran together\n", batch_texts,
              batch_clients);
  print_memory();
  std::fflush(stdout);
  [[maybe_unused]] const ssize_t told = ::write(3, "done\n", 5);
  while (std::fgetc(stdin) != EOF) {
  }
  return 0;
}
