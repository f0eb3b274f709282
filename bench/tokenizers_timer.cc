// tokenizers_timer: the process that bench/tokenizers.py starts.
//
//   tokenizers_timer TOKENIZER.json TEXTS
//
// TEXTS holds texts: 4 bytes of size, little endian, then UTF-8. Reads a line from standard input
// and answers "ok ..." or "error REASON":
//
//   ids FILE    writes for each text the number of its ids and the ids, 4 bytes each -> ok
//   time        encodes all texts once, special tokens included -> ok CPU seconds of this thread
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "sidecar/tokenizer/tokenizer.h"

namespace {

using nacelle::tokenizer::Tokenizer;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::vector<std::string> read_texts(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string> texts;
  for (std::size_t at = 0; at + sizeof(std::uint32_t) <= bytes.size();) {
    std::uint32_t size = 0;
    std::memcpy(&size, &bytes[at], sizeof size);
    texts.push_back(bytes.substr(at + sizeof size, size));
    at += sizeof size + size;
  }
  return texts;
}

bool write_ids(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
               const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  for (const std::string& text : texts) {
    const auto encoding = tokenizer.encode(text, SIZE_MAX);
    if (!encoding) return false;
    std::vector<std::uint32_t> row{static_cast<std::uint32_t>(encoding->ids.size())};
    row.insert(row.end(), encoding->ids.begin(), encoding->ids.end());
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): numbers to a file of bytes
    out.write(reinterpret_cast<const char*>(row.data()),
              static_cast<std::streamsize>(row.size() * sizeof row[0]));
  }
  return static_cast<bool>(out.flush());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s TOKENIZER.json TEXTS\n", argv[0]);
    return 2;
  }
  const auto tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
    return 1;
  }
  const std::vector<std::string> texts = read_texts(argv[2]);
  for (std::string line; std::getline(std::cin, line);) {
    if (line.starts_with("ids ")) {
      std::puts(write_ids(**tokenizer, texts, line.substr(4)) ? "ok" : "error encoding or writing");
    } else if (line == "time") {
      const double begin = cpu_seconds();
      std::size_t ids = 0;
      for (const std::string& text : texts) {
        const auto encoding = (*tokenizer)->encode(text, SIZE_MAX);
        if (encoding) ids += encoding->ids.size();
      }
      std::printf("ok %.9f %zu\n", cpu_seconds() - begin, ids);
    } else {
      std::puts("error unknown command");
    }
    std::fflush(stdout);
  }
  return 0;
}
