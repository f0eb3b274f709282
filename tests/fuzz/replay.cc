// Plays a fuzz target without a fuzzer: each file of a corpus as it is, then mutations of them, the
// same ones each time.
//
//   slots_replay CORPUS [MUTATIONS [SEED]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

void play(const Bytes& input) {
  LLVMFuzzerTestOneInput(input.data(), input.size());  // its result says nothing
}

Bytes mutated(const std::vector<Bytes>& corpus, std::mt19937_64& random) {
  constexpr std::size_t kSizeMax = 1024;
  Bytes bytes = corpus[random() % corpus.size()];
  for (auto changes = 1 + random() % 6; changes > 0; --changes) {
    if (bytes.empty()) bytes.push_back(0);
    const auto at = static_cast<std::ptrdiff_t>(random() % bytes.size());
    switch (random() % 5) {
      case 0:
        bytes[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << (random() % 8));
        break;
      case 1: {
        constexpr std::uint8_t kNotable[] = {0, 1, 3, 4, 5, 63, 64, 65, 127, 128, 254, 255};
        bytes[static_cast<std::size_t>(at)] = kNotable[random() % std::size(kNotable)];
        break;
      }
      case 2:
        bytes.insert(bytes.begin() + at, static_cast<std::uint8_t>(random()));
        break;
      case 3:
        bytes.erase(bytes.begin() + at);
        break;
      default: {  // the rest of another
        const Bytes& other = corpus[random() % corpus.size()];
        bytes.resize(static_cast<std::size_t>(at));
        const auto from = static_cast<std::ptrdiff_t>(random() % (other.size() + 1));
        bytes.insert(bytes.end(), other.begin() + from, other.end());
      }
    }
    if (bytes.size() > kSizeMax) bytes.resize(kSizeMax);
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CORPUS [MUTATIONS [SEED]]\n", argv[0]);
    return 2;
  }
  const unsigned long mutations = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  const unsigned long seed = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    names.push_back(entry.path().string());
  }
  std::sort(names.begin(), names.end());
  std::vector<Bytes> corpus;
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    play(corpus.back());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "%s holds no inputs\n", argv[1]);
    return 1;
  }
  std::mt19937_64 random(seed);
  for (unsigned long i = 0; i < mutations; ++i) play(mutated(corpus, random));
  std::printf("%zu inputs and %lu mutations (seed %lu)\n", corpus.size(), mutations, seed);
  return 0;
}
