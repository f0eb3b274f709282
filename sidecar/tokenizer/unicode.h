// What Hugging Face's tokenizers knows about each code point: libutf8proc's tables, corrected by
// unicode_pins.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nacelle::tokenizer {

// Facts about a code point, or-ed together.
enum UnicodeFact : std::uint8_t {
  kOther = 1,       // control (but tab, LF, CR), format, private use, U+FFFD: clean_text drops them
  kWhiteSpace = 2,  // the White_Space property
  kPunctuation = 4,  // general category P*, or one of ASCII's signs such as $ + < ^ `
  kNonspacing = 8,   // general category Mn
  kIdeograph = 16,   // the blocks that BERT surrounds with spaces
  kHasLower = 32,    // its lower case is something else
  kDecomposes = 64,  // its canonical decomposition is something else
  kReorders = 128,   // its combining class is not 0: may change places with its neighbours
};

inline constexpr std::size_t kCodePoints = 0x110000;

// [kCodePoints] the facts of each, by code point. Built on first use (some 10 ms), 1.1 MB, never
// changed after that.
const std::vector<std::uint8_t>& unicode_facts();

// Up to four code points.
struct CodePoints {
  std::array<char32_t, 4> values{};
  std::size_t count = 0;

  [[nodiscard]] const char32_t* begin() const { return values.data(); }
  [[nodiscard]] const char32_t* end() const { return values.data() + count; }
};

// The lower case, without regard to context (a final sigma stays a plain one); one or two.
CodePoints to_lower(char32_t code_point);

// The full canonical decomposition; Unicode's longest has four.
CodePoints decompose(char32_t code_point);

// Canonical_Combining_Class.
std::uint8_t combining_class(char32_t code_point);

// Whether it belongs to a word, as \w of a regular expression has it: letters, marks, decimal
// digits, connector punctuation and joiners.
bool is_word(char32_t code_point);

}  // namespace nacelle::tokenizer
