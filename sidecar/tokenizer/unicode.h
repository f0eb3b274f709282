// What Hugging Face's tokenizers knows about each code point: libutf8proc's tables, corrected by
// unicode_pins.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
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

// Appends the full compatibility decomposition; Unicode's longest has 18.
void append_compatible(char32_t code_point, std::u32string& out);

// Whether the canonical decomposition, composed again, gives the character itself: it is not one of
// those excluded from composition.
bool composes_again(char32_t code_point);

// Canonical_Combining_Class.
std::uint8_t combining_class(char32_t code_point);

// Whether it belongs to a word, as \w of a regular expression has it: letters, marks, decimal
// digits, connector punctuation and joiners.
bool is_word(char32_t code_point);

// Whether it is a number of any kind: general category N*.
bool is_numeric(char32_t code_point);

// Whether it is a mark of any kind: general category M*.
bool is_mark(char32_t code_point);

// Classes of a code point in regular expressions, or-ed together.
enum RegexClass : std::uint8_t {
  kRegexLetter = 1,       // \p{L}
  kRegexNumber = 2,       // \p{N}
  kRegexPunctuation = 4,  // \p{P}
  kRegexSymbol = 8,       // \p{S}
  kRegexMark = 16,        // \p{M}
  kRegexSpace = 32,       // \s
};

// [kCodePoints] the classes of each. Built on first use, 1.1 MB, never changed after that.
const std::vector<std::uint8_t>& regex_classes();

// Whether no character of this kind belongs to one grapheme cluster with another of this kind.
bool stands_alone(char32_t code_point);
// Whether a grapheme cluster ends between two characters; `state` is 0 at the start of a cluster.
bool cluster_ends(char32_t before, char32_t behind, std::int32_t& state);

}  // namespace nacelle::tokenizer
