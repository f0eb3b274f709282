// UTF-8 to code points and back. Text is checked once, where it enters (base/utf8.h and the JSON
// parser); after that decoding trusts it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nacelle::tokenizer {

// Whether a byte is the second or a later one of its character.
[[nodiscard]] inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

// The code point at `offset` < text.size(), moving `offset` behind it. The text must be well
// formed.
[[nodiscard]] inline char32_t decode(std::string_view text, std::size_t& offset) {
  const auto byte = [&](std::size_t i) -> char32_t {
    return static_cast<unsigned char>(text[offset + i]);
  };
  const char32_t lead = byte(0);
  char32_t code_point = lead;
  std::size_t size = 1;
  if (lead >= 0xF0) {
    code_point = (lead & 0x07U) << 18U | (byte(1) & 0x3FU) << 12U | (byte(2) & 0x3FU) << 6U |
                 (byte(3) & 0x3FU);
    size = 4;
  } else if (lead >= 0xE0) {
    code_point = (lead & 0x0FU) << 12U | (byte(1) & 0x3FU) << 6U | (byte(2) & 0x3FU);
    size = 3;
  } else if (lead >= 0x80) {
    code_point = (lead & 0x1FU) << 6U | (byte(1) & 0x3FU);
    size = 2;
  }
  offset += size;
  return code_point;
}

// Moves `offset` behind the character there.
inline void skip(std::string_view text, std::size_t& offset) {
  do {
    ++offset;
  } while (offset < text.size() && is_continuation(text[offset]));
}

// Appends one code point.
void append(std::string& out, char32_t code_point);

// `bytes` with U+FFFD in place of each longest beginning of a character that does not go on, and of
// each byte that begins none.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace nacelle::tokenizer
