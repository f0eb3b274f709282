// Loads one tokenizer.json in a process of its own, for loading_test.cc, and tells what it took.
//
//   load_peak FILE
//
// Prints one line: the most memory that loading added to the process, in KiB; the CPU time that it
// took, in ms; and "loaded", or why it was refused.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>

#include "sidecar/tokenizer/tokenizer.h"

namespace {

// A field of /proc/self/status, in KiB.
long memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::strtol(&line[field.size() + 1], nullptr, 10);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const long before = memory("VmRSS");
  const auto tokenizer = nacelle::tokenizer::Tokenizer::load(argv[1]);
  const std::clock_t took = std::clock() * 1000 / CLOCKS_PER_SEC;
  std::printf("%ld %ld %s\n", memory("VmHWM") - before, static_cast<long>(took),
              tokenizer ? "loaded" : tokenizer.error().message.c_str());
  std::fflush(stdout);
  if (!tokenizer) return 0;
  // What did load must not do harm either.
  for (const char* text : {"Hello, world!", "\xEF\xB7\xBA \xEC\x98\x81\xED\x99\x94 \xE2\x96\x81",
                           "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const auto encoding = (*tokenizer)->encode(text, 64);
    if (encoding && !(*tokenizer)->decode(encoding->ids, true)) return 3;
  }
  return 0;
}
