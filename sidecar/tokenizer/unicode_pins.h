// Where the Unicode tables inside Hugging Face's tokenizers differ from libutf8proc's.
//
// The reference library carries general categories and decompositions that are older than Unicode
// 15 and a lower-case map that is newer. Equal ids need equal tables, so unicode.cc starts from
// utf8proc and applies these corrections. tests/golden/make_unicode_pins.py writes them from what
// the real library answers for every code point; unicode_test.cc compares every code point again.
#pragma once

#include <cstdint>
#include <span>

namespace nacelle::tokenizer {

// Code points from first to last, both included.
struct Range {
  char32_t first;
  char32_t last;
};

// Code points whose lower case is themselves + delta.
struct LowerPin {
  char32_t first;
  char32_t last;
  std::int32_t delta;
};

struct UnicodePins {
  std::span<const Range> other;        // utf8proc's answer to "control, format or private" is wrong
  std::span<const Range> punctuation;  // the same for "punctuation"
  std::span<const Range> nonspacing;   // the same for "nonspacing mark"
  std::span<const Range> starters;     // combining class 0
  std::span<const Range> atoms;        // do not decompose
  std::span<const Range> compatibility_atoms;  // have no compatibility decomposition of their own
  std::span<const Range> word;                 // unicode.cc's rule for word characters is wrong
  std::span<const Range> numeric;  // utf8proc's answer to "a number of any kind" is wrong
  std::span<const Range> marks;    // the same for "a mark of any kind"
  // The same for \p{L}, N, P, S and M of regular expressions, whose tables are newer.
  std::span<const Range> regex_letters;
  std::span<const Range> regex_numbers;
  std::span<const Range> regex_punctuation;
  std::span<const Range> regex_symbols;
  std::span<const Range> regex_marks;
  std::span<const LowerPin> lower;
};

const UnicodePins& unicode_pins();

}  // namespace nacelle::tokenizer
