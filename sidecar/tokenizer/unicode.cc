#include "sidecar/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <span>

#include "sidecar/base/check.h"
#include "sidecar/tokenizer/unicode_pins.h"

namespace nacelle::tokenizer {
namespace {

constexpr Range kWhiteSpaces[] = {
    {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
    {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
// BERT's list: the CJK unified blocks up to extension E, and the compatibility ideographs.
constexpr Range kIdeographs[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                 {0x20000, 0x2A6DF}, {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF},
                                 {0x2F800, 0x2FA1F}};

bool contains(std::span<const Range> ranges, char32_t code_point) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), code_point,
                       [](char32_t c, const Range& range) { return c < range.first; });
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

utf8proc_int32_t signed_form(char32_t code_point) {
  return static_cast<utf8proc_int32_t>(code_point);
}

// Facts before the corrections.
std::uint8_t plain_facts(char32_t c) {
  unsigned facts = 0;
  switch (utf8proc_category(signed_form(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      if (c != U'\t' && c != U'\n' && c != U'\r') facts |= kOther;
      break;
    case UTF8PROC_CATEGORY_MN:
      facts |= kNonspacing;
      break;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      facts |= kPunctuation;
      break;
    default:
      break;
  }
  if (c == 0xFFFD) facts |= kOther;
  // ASCII's signs that Unicode calls symbols count as punctuation.
  if ((c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
      (c >= 0x7B && c <= 0x7E)) {
    facts |= kPunctuation;
  }
  return static_cast<std::uint8_t>(facts);
}

// \w before the corrections: letters, marks, decimal digits, letter numbers, connectors, ...
bool plain_is_word(char32_t c) {
  switch (utf8proc_category(signed_form(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  // ... the joiners, and the symbols with the Alphabetic property: circled and squared letters.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

std::vector<std::uint8_t> build_facts() {
  std::vector<std::uint8_t> facts(kCodePoints);
  for (char32_t c = 0; c < kCodePoints; ++c) facts[c] = plain_facts(c);

  const auto each = [&](std::span<const Range> ranges, auto change) {
    for (const Range& range : ranges) {
      for (char32_t c = range.first; c <= range.last; ++c) change(facts[c]);
    }
  };
  const auto flip = [](std::uint8_t fact) {
    return [fact](std::uint8_t& facts_of_one) { facts_of_one ^= fact; };
  };
  const auto set = [](std::uint8_t fact) {
    return [fact](std::uint8_t& facts_of_one) { facts_of_one |= fact; };
  };
  const UnicodePins& pins = unicode_pins();
  each(pins.other, flip(kOther));
  each(pins.punctuation, flip(kPunctuation));
  each(pins.nonspacing, flip(kNonspacing));
  each(kWhiteSpaces, set(kWhiteSpace));
  each(kIdeographs, set(kIdeograph));

  for (char32_t c = 0; c < kCodePoints; ++c) {
    const utf8proc_property_t& property = *utf8proc_get_property(signed_form(c));
    const CodePoints lower = to_lower(c);
    if (lower.count != 1 || lower.values[0] != c) facts[c] |= kHasLower;
    if (combining_class(c) != 0) facts[c] |= kReorders;
    // The property table says who decomposes; Hangul syllables do so by rule, not by table.
    const bool hangul = c >= 0xAC00 && c <= 0xD7A3;
    if (!hangul && property.decomp_seqindex == UINT16_MAX) continue;
    const CodePoints parts = decompose(c);
    if (parts.count != 1 || parts.values[0] != c) facts[c] |= kDecomposes;
  }
  return facts;
}

bool plain_is_mark(utf8proc_category_t category) {
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

std::vector<std::uint8_t> build_regex_classes() {
  std::vector<std::uint8_t> classes(kCodePoints);
  for (char32_t c = 0; c < kCodePoints; ++c) {
    // "Lu", "Nd", ...: the first letter names the class.
    switch (utf8proc_category_string(signed_form(c))[0]) {
      case 'L':
        classes[c] = kRegexLetter;
        break;
      case 'N':
        classes[c] = kRegexNumber;
        break;
      case 'P':
        classes[c] = kRegexPunctuation;
        break;
      case 'S':
        classes[c] = kRegexSymbol;
        break;
      case 'M':
        classes[c] = kRegexMark;
        break;
      default:
        break;
    }
  }
  const UnicodePins& pins = unicode_pins();
  for (const auto& [ranges, its_class] :
       {std::pair{pins.regex_letters, kRegexLetter}, std::pair{pins.regex_numbers, kRegexNumber},
        std::pair{pins.regex_punctuation, kRegexPunctuation},
        std::pair{pins.regex_symbols, kRegexSymbol}, std::pair{pins.regex_marks, kRegexMark}}) {
    for (const Range& range : ranges) {
      for (char32_t c = range.first; c <= range.last; ++c) classes[c] ^= its_class;
    }
  }
  for (const Range& range : kWhiteSpaces) {
    for (char32_t c = range.first; c <= range.last; ++c) classes[c] |= kRegexSpace;
  }
  return classes;
}

}  // namespace

const std::vector<std::uint8_t>& unicode_facts() {
  static const std::vector<std::uint8_t> facts = build_facts();
  return facts;
}

CodePoints to_lower(char32_t code_point) {
  // The only character whose lower case is longer: I with a dot above becomes i and a dot above.
  if (code_point == 0x130) return {.values = {U'i', 0x307}, .count = 2};
  for (const LowerPin& pin : unicode_pins().lower) {
    if (code_point >= pin.first && code_point <= pin.last) {
      const auto lower = static_cast<char32_t>(signed_form(code_point) + pin.delta);
      return {.values = {lower}, .count = 1};
    }
  }
  const auto lower = static_cast<char32_t>(utf8proc_tolower(signed_form(code_point)));
  return {.values = {lower}, .count = 1};
}

CodePoints decompose(char32_t code_point) {
  if (contains(unicode_pins().atoms, code_point)) return {.values = {code_point}, .count = 1};
  std::array<utf8proc_int32_t, 4> parts{};
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      signed_form(code_point), parts.data(), parts.size(), UTF8PROC_DECOMPOSE, &boundary);
  // Unicode promises to add no longer ones, and every code point is tried when the facts are built.
  CHECK(count >= 1 && static_cast<std::size_t>(count) <= parts.size());
  CodePoints result{.values = {}, .count = static_cast<std::size_t>(count)};
  for (std::size_t i = 0; i < result.count; ++i) {
    result.values[i] = static_cast<char32_t>(parts[i]);
  }
  return result;
}

void append_compatible(char32_t code_point, std::u32string& out) {
  if (contains(unicode_pins().atoms, code_point) ||
      contains(unicode_pins().compatibility_atoms, code_point)) {
    const CodePoints parts = decompose(code_point);
    out.append(parts.begin(), parts.end());
    return;
  }
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      signed_form(code_point), parts.data(), parts.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &boundary);
  CHECK(count >= 1 && static_cast<std::size_t>(count) <= parts.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    out.push_back(static_cast<char32_t>(parts[i]));
  }
}

bool composes_again(char32_t code_point) {
  const CodePoints parts = decompose(code_point);
  std::array<utf8proc_int32_t, 8> text{};
  for (std::size_t i = 0; i < parts.count; ++i) text[i] = signed_form(parts.values[i]);
  const utf8proc_ssize_t size =
      utf8proc_normalize_utf32(text.data(), static_cast<utf8proc_ssize_t>(parts.count),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return size == 1 && text[0] == signed_form(code_point);
}

bool is_numeric(char32_t code_point) {
  const utf8proc_category_t category = utf8proc_category(signed_form(code_point));
  const bool number = category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
                      category == UTF8PROC_CATEGORY_NO;
  return number != contains(unicode_pins().numeric, code_point);
}

bool is_mark(char32_t code_point) {
  return plain_is_mark(utf8proc_category(signed_form(code_point))) !=
         contains(unicode_pins().marks, code_point);
}

const std::vector<std::uint8_t>& regex_classes() {
  static const std::vector<std::uint8_t> classes = build_regex_classes();
  return classes;
}

bool stands_alone(char32_t code_point) {
  switch (utf8proc_get_property(signed_form(code_point))->boundclass) {
    case UTF8PROC_BOUNDCLASS_OTHER:
    case UTF8PROC_BOUNDCLASS_LV:
    case UTF8PROC_BOUNDCLASS_LVT:
      return true;
    default:
      return false;
  }
}

bool cluster_ends(char32_t before, char32_t behind, std::int32_t& state) {
  return utf8proc_grapheme_break_stateful(signed_form(before), signed_form(behind), &state) != 0;
}

std::uint8_t combining_class(char32_t code_point) {
  if (contains(unicode_pins().starters, code_point)) return 0;
  return static_cast<std::uint8_t>(utf8proc_get_property(signed_form(code_point))->combining_class);
}

bool is_word(char32_t code_point) {
  return plain_is_word(code_point) != contains(unicode_pins().word, code_point);
}

}  // namespace nacelle::tokenizer
