// Any bytes as a tokenizer.json, and a text to encode with it: an error or ids, within bounds.
//
// The input is the file, a NUL, which JSON cannot hold, and the text.
#include <cstdlib>
#include <string>
#include <string_view>

#include "sidecar/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace {

using nacelle::tokenizer::Tokenizer;

void require(bool condition) {
  if (!condition) std::abort();
}

void encode(const Tokenizer& tokenizer, std::string_view text) {
  constexpr std::size_t kTokensMax = 64;
  const auto whole = tokenizer.encode_plain(text);
  if (whole) {
    for (const std::uint32_t id : whole->ids) require(id < tokenizer.vocabulary_size());
    require(whole->types.size() == whole->ids.size());
    require(tokenizer.decode(whole->ids, true).has_value() ||
            !tokenizer.decode(whole->ids, false).has_value());
  }
  const auto cut = tokenizer.encode(text, kTokensMax);
  if (cut) {
    require(cut->ids.size() <= kTokensMax && cut->types.size() == cut->ids.size());
    require(!whole ||
            cut->truncated == (whole->ids.size() > kTokensMax - tokenizer.special_tokens()));
  }
  const auto pair = tokenizer.encode_pair(text, "a b", kTokensMax);
  if (pair) {
    require(pair->ids.size() <= kTokensMax && pair->types.size() == pair->ids.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(data, data + size);
  const std::size_t end = input.find('\0');
  const std::string json = input.substr(0, end);
  const std::string text = end == std::string::npos ? "The text, 영화!" : input.substr(end + 1);
  const auto tokenizer = Tokenizer::parse(json, "fuzz");
  if (tokenizer) encode(**tokenizer, text);
  return 0;
}
