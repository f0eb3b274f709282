// An application process of bench/skeleton.py: one thread, one connection, told what to do.
//
// usage: skeleton_client SOCKET NAME
//
// Reads commands from standard input, a line each, and answers each with a line: "ok" and numbers,
// or "error" and words.
//
//   ping COUNT                       ok P50_NS P99_NS      null ops of 64 bytes, each verified
//   socket COUNT                     ok P50_NS P99_NS      the same over a Unix socket
//   floor COUNT CPU CPU              ok P50_NS P99_NS      one cache line each way
//   peak THREADS [fp32|bf16|int8]    ok GFLOP/S            products and sums of that precision
//   texts FILE                       ok COUNT              one a line; what the next two send
//   vectors SERVICE CALL_TEXTS FILE  ok WIDTH              every text's embedding, as raw floats
//   embed SERVICE CALL_TEXTS MS FROM [whole]
//                                    ok TEXTS BEGIN_NS END_NS CALL_US QUEUE_US COMPUTE_US ...
//         ... BATCH_TEXTS BATCH_CLIENTS P50_US P99_US    calls, one after the other, for MS
//                        milliseconds, from text FROM on; five means over the calls, two
//                        percentiles
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels_bounds.h"
#include "bench/skeleton_round_trips.h"
#include "shm/client.h"
#include "sidecar/base/time.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Nanos;
using base::Result;

constexpr unsigned kCallTextsMax = 1024;
constexpr Nanos kEmbedMax = 60 * base::kSecond;

std::string percentiles(std::vector<Nanos> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  };
  return std::to_string(at(0.5)) + " " + std::to_string(at(0.99));
}

Result<std::string> percentiles_of(const Result<std::vector<Nanos>>& times) {
  if (!times) return times.error();
  return percentiles(*times);
}

class Application {
 public:
  explicit Application(std::unique_ptr<Client> client) : client_(std::move(client)) {}

  Result<std::string> obey(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "ping") return ping(words);
    if (command == "socket") return percentiles_of(socket_round_trips(number(words)));
    if (command == "floor") {
      const unsigned count = number(words);
      const auto here = number(words);
      const auto there = number(words);
      return percentiles_of(cache_line_round_trips(count, here, there));
    }
    if (command == "peak") return peak(words);
    if (command == "texts") return texts(words);
    if (command == "vectors") return vectors(words);
    if (command == "embed") return embed(words);
    return Error{Code::kInvalid, "no command \"" + command + "\""};
  }

 private:
  // 0, which every command refuses where it makes no sense, when there is no number.
  static unsigned number(std::istringstream& words) {
    unsigned value = 0;
    words >> value;
    return words ? value : 0;
  }

  Result<std::string> ping(std::istringstream& words) {
    const unsigned count = number(words);
    if (count == 0 || count > kRoundTripsMax) return Error{Code::kInvalid, "ping: a bad count"};
    std::vector<Nanos> times(count);
    std::array<std::byte, kMessageSize> message{};
    for (unsigned i = 0; i < count; ++i) {
      std::array<std::byte, kMessageSize> sent;
      for (std::size_t b = 0; b < sent.size(); ++b)
        sent[b] = static_cast<std::byte>(std::size_t{i} * 31 + b);
      message = sent;
      const Nanos begin = base::now_ns();
      const base::Status pinged = client_->ping(message);
      times[i] = base::now_ns() - begin;
      if (!pinged) return pinged.error();
      if (message != sent) return Error{Code::kInternal, "ping: other bytes came back"};
    }
    return percentiles(std::move(times));
  }

  static Result<std::string> peak(std::istringstream& words) {
    const auto pool = kernels::cpu::ThreadPool::create(number(words));
    if (!pool) return pool.error();
    std::string precision;
    words >> precision;
    if (precision == "bf16") return std::to_string(peak_bf16(**pool));
    if (precision == "int8") return std::to_string(peak_int8(**pool));
    return std::to_string(peak_flops(**pool));
  }

  Result<std::string> texts(std::istringstream& words) {
    std::string path;
    words >> path;
    std::ifstream file(path);
    lines_.clear();
    for (std::string line; std::getline(file, line);) lines_.push_back(line);
    views_.assign(lines_.begin(), lines_.end());
    if (views_.empty()) return Error{Code::kNotFound, "no lines in " + path};
    return std::to_string(views_.size());
  }

  // The service's name and the texts of each call, which must divide the number of texts.
  Result<unsigned> call_texts(std::istringstream& words, std::string& service) {
    words >> service;
    const unsigned count = number(words);
    if (count == 0 || count > kCallTextsMax || views_.empty() || views_.size() % count != 0) {
      return Error{Code::kInvalid, "the texts of a call must divide those of the file"};
    }
    return count;
  }

  Result<std::string> vectors(std::istringstream& words) {
    std::string service;
    std::string path;
    const auto count = call_texts(words, service);
    if (!count) return count.error();
    words >> path;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    std::uint32_t width = 0;
    for (std::size_t i = 0; i < views_.size(); i += *count) {
      const auto rows = client_->embed(service, std::span(views_).subspan(i, *count));
      if (!rows) return rows.error();
      if (rows->report.items_failed != 0) return Error{Code::kInternal, "a text failed"};
      width = rows->width;
      std::vector<char> bytes(rows->values.size() * sizeof(float));
      std::memcpy(bytes.data(), rows->values.data(), bytes.size());
      file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    file.close();
    if (file.fail()) return Error{Code::kUnavailable, "cannot write " + path};
    return std::to_string(width);
  }

  Result<std::string> embed(std::istringstream& words) {
    std::string service;
    const auto count = call_texts(words, service);
    if (!count) return count.error();
    const Nanos duration = number(words) * base::kMillisecond;
    std::size_t next = number(words);
    std::string whole;  // rounds only, so that a mix is always the same mix
    words >> whole;
    if (!whole.empty() && whole != "whole") return Error{Code::kInvalid, "embed: " + whole + "?"};
    if (duration == 0 || duration > kEmbedMax || next % *count != 0) {
      return Error{Code::kInvalid, "embed: a bad duration or first text"};
    }
    std::uint64_t calls = 0;
    std::uint64_t queue_us = 0;
    std::uint64_t compute_us = 0;
    std::uint64_t batch_texts = 0;
    std::uint64_t batch_clients = 0;
    std::vector<Nanos> times;
    next %= views_.size();
    const Nanos begin = base::now_ns();
    Nanos end = begin;
    do {
      const Nanos start = end;
      const auto rows = client_->embed(service, std::span(views_).subspan(next, *count));
      end = base::now_ns();
      times.push_back(end - start);
      if (!rows) return rows.error();
      if (rows->report.items_failed != 0) return Error{Code::kInternal, "a text failed"};
      next = (next + *count) % views_.size();
      ++calls;
      queue_us += rows->report.queue_us;
      compute_us += rows->report.compute_us;
      batch_texts += rows->report.batch_texts;
      batch_clients += rows->report.batch_clients;
    } while (end - begin < duration || (!whole.empty() && next != 0));
    std::ostringstream said;
    const auto per_call = [&](std::uint64_t sum) {
      return static_cast<double>(sum) / static_cast<double>(calls);
    };
    said << calls * *count << " " << begin << " " << end << " "
         << static_cast<double>(end - begin) / 1e3 / static_cast<double>(calls) << " "
         << per_call(queue_us) << " " << per_call(compute_us) << " " << per_call(batch_texts) << " "
         << per_call(batch_clients);
    std::sort(times.begin(), times.end());
    for (const double share : {0.5, 0.99}) {
      const auto at = static_cast<std::size_t>(share * static_cast<double>(times.size() - 1));
      said << " " << static_cast<double>(times[at]) / 1e3;
    }
    return said.str();
  }

  std::unique_ptr<Client> client_;
  std::vector<std::string> lines_;
  std::vector<std::string_view> views_;  // of lines_
};

int run(const char* socket, const char* name) {
  auto client = Client::connect({.socket = socket, .name = name});
  if (!client) {
    std::fprintf(stderr, "skeleton_client: %s\n", client.error().message.c_str());
    return 1;
  }
  Application application(*std::move(client));
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = application.obey(line);
    if (answer) {
      std::cout << "ok " << *answer << std::endl;
    } else {
      std::cout << "error " << answer.error().message << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: skeleton_client SOCKET NAME\n");
    return 2;
  }
  return nacelle::bench::run(argv[1], argv[2]);
}
