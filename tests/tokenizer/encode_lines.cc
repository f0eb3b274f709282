// Encodes lines of text with one tokenizer.json, for tests/golden/compare_tokenizers.py.
//
//   encode_lines TOKENIZER.json TEXTS OUT [plain|special|pairs LIMIT|decode]
//
// TEXTS is a sequence of texts: 4 bytes of size, little endian, then UTF-8. OUT gets for each: 4
// bytes for the number of ids, then the ids of 4 bytes each; with `pairs`, of two texts at a time,
// the ids and then as many types; with `decode`, 4 bytes of size and the text of the ids.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sidecar/tokenizer/tokenizer.h"

namespace {

using namespace nacelle;  // NOLINT(google-build-using-namespace): a program of one file

void put(std::ofstream& out, const void* bytes, std::size_t size) {
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
}
void put_size(std::ofstream& out, std::size_t size) {
  const auto number = static_cast<std::uint32_t>(size);
  put(out, &number, sizeof number);
}

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "encode_lines: %s\n", message.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4)
    die("usage: encode_lines TOKENIZER.json TEXTS OUT [plain|special|decode|pairs LIMIT]");
  const std::string mode = argc > 4 ? argv[4] : "special";
  const std::size_t limit = argc > 5 ? std::strtoul(argv[5], nullptr, 10) : SIZE_MAX;
  const auto tokenizer = tokenizer::Tokenizer::load(argv[1]);
  if (!tokenizer) die(tokenizer.error().message);
  std::ifstream file(argv[2], std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string_view> texts;
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    std::uint32_t size = 0;
    std::memcpy(&size, &bytes[at], sizeof size);
    texts.push_back(std::string_view(bytes).substr(at + 4, size));
    at += 4 + size;
  }
  std::ofstream out(argv[3], std::ios::binary);
  const std::size_t step = mode == "pairs" ? 2 : 1;
  for (std::size_t i = 0; i + step <= texts.size(); i += step) {
    const auto encoding = mode == "pairs" ? (*tokenizer)->encode_pair(texts[i], texts[i + 1], limit)
                          : mode == "plain" ? (*tokenizer)->encode_plain(texts[i])
                                            : (*tokenizer)->encode(texts[i], limit);
    if (!encoding) die("text " + std::to_string(i) + ": " + encoding.error().message);
    if (mode == "decode") {
      const auto text = (*tokenizer)->decode(encoding->ids, true);
      if (!text) die("text " + std::to_string(i) + ": " + text.error().message);
      put_size(out, text->size());
      put(out, text->data(), text->size());
      continue;
    }
    put_size(out, encoding->ids.size());
    put(out, encoding->ids.data(), encoding->ids.size() * sizeof encoding->ids[0]);
    if (mode == "pairs") put(out, encoding->types.data(), encoding->types.size() * 4);
  }
  return 0;
}
