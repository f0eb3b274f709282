// The regular expressions of well-known tokenizers, by hand: each character is looked at a bounded
// number of times, whatever the text. An expression that differs in one byte goes to the library.
//
// Classes of characters are those of the library inside of Hugging Face's tokenizers, which is
// newer than Debian's (see unicode_pins.h).
#include <algorithm>

#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr unsigned kLetter = kRegexLetter;
constexpr unsigned kNumber = kRegexNumber;
constexpr unsigned kSpace = kRegexSpace;

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

// ASCII's punctuation and signs.
bool is_ascii_sign(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

// Reads a text by its classes.
struct Reader {
  std::string_view text;
  const std::uint8_t* classes;

  // The class of the character at `offset`, which moves behind it; 0 at the end.
  std::uint8_t take(std::size_t& offset) const {
    return offset < text.size() ? classes[decode(text, offset)] : std::uint8_t{0};
  }
  // Where the run of characters at `offset` with a bit of `bits` ends.
  [[nodiscard]] std::size_t run(std::size_t offset, unsigned bits) const {
    while (offset < text.size()) {
      std::size_t after = offset;
      if ((take(after) & bits) == 0) break;
      offset = after;
    }
    return offset;
  }
  // The same of those without any.
  [[nodiscard]] std::size_t run_without(std::size_t offset, unsigned bits) const {
    while (offset < text.size()) {
      std::size_t after = offset;
      if ((take(after) & bits) != 0) break;
      offset = after;
    }
    return offset;
  }
  // Where the line ends at `offset` end.
  [[nodiscard]] std::size_t line_ends(std::size_t offset) const {
    while (offset < text.size() && is_line_end(text[offset])) ++offset;
    return offset;
  }
  [[nodiscard]] std::size_t behind_space(std::size_t offset) const {
    return offset < text.size() && text[offset] == ' ' ? offset + 1 : offset;
  }
};

// \s+(?!\S)|\s+  where white space is: all of it, but its last character goes to the word behind.
std::size_t spaces(const Reader& reader, std::size_t begin) {
  const std::size_t end = reader.run(begin, kSpace);
  if (end == reader.text.size()) return end;
  std::size_t last = end - 1;
  while (is_continuation(reader.text[last])) --last;
  return last > begin ? last : end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
std::size_t lines_or_spaces(const Reader& reader, std::size_t begin) {
  std::size_t behind_line = begin;
  for (std::size_t offset = begin; offset < reader.text.size();) {
    const bool line_end = is_line_end(reader.text[offset]);
    if ((reader.take(offset) & kSpace) == 0) break;
    if (line_end) behind_line = offset;
  }
  return behind_line > begin ? behind_line : spaces(reader, begin);
}

// 's|'t|'re|'ve|'m|'ll|'d ; with `any_case`, also in capitals, and U+017F, the long s.
std::size_t contraction(const Reader& reader, std::size_t begin, bool any_case) {
  const std::string_view text = reader.text;
  if (text[begin] != '\'' || begin + 1 == text.size()) return begin;
  const auto letter = [&](std::size_t at) -> char {
    if (at >= text.size()) return '\0';
    const char c = text[at];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  switch (letter(begin + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return begin + 2;
    case 'r':
    case 'v':
      return letter(begin + 2) == 'e' ? begin + 3 : begin;
    case 'l':
      return letter(begin + 2) == 'l' ? begin + 3 : begin;
    default:
      return any_case && text.substr(begin + 1).starts_with("\xC5\xBF") ? begin + 3 : begin;
  }
}

// One function per expression: where the match that starts at `begin` ends; `begin` for none.
std::size_t gpt2(const Reader& reader, std::size_t begin) {
  const std::size_t short_form = contraction(reader, begin, false);
  if (short_form > begin) return short_form;
  const std::size_t first = reader.behind_space(begin);
  std::size_t after = first;
  const std::uint8_t its_class = reader.take(after);
  if ((its_class & kLetter) != 0) return reader.run(after, kLetter);
  if ((its_class & kNumber) != 0) return reader.run(after, kNumber);
  if (after > first && (its_class & kSpace) == 0) {
    return reader.run_without(after, kSpace | kLetter | kNumber);
  }
  return spaces(reader, begin);
}

std::size_t clip(const Reader& reader, std::size_t begin) {
  const std::size_t short_form = contraction(reader, begin, false);
  if (short_form > begin) return short_form;
  std::size_t after = begin;
  const std::uint8_t first = reader.take(after);
  if ((first & kLetter) != 0) return reader.run(after, kLetter);
  if ((first & kNumber) != 0) return after;
  return (first & kSpace) != 0 ? begin : reader.run_without(after, kSpace | kLetter | kNumber);
}

// The expression that GPT-4 brought, with `digits_max` digits in one word.
std::size_t gpt4(const Reader& reader, std::size_t begin, int digits_max) {
  const std::size_t short_form = contraction(reader, begin, true);
  if (short_form > begin) return short_form;
  std::size_t after = begin;
  const std::uint8_t first = reader.take(after);
  if ((first & kLetter) != 0) return reader.run(after, kLetter);
  if ((first & kNumber) != 0) {
    for (int digits = 1; digits < digits_max; ++digits) {
      std::size_t next = after;
      if ((reader.take(next) & kNumber) == 0) break;
      after = next;
    }
    return after;
  }
  if (!is_line_end(reader.text[begin])) {
    std::size_t second = after;
    if ((reader.take(second) & kLetter) != 0) return reader.run(second, kLetter);
  }
  const std::size_t sign = reader.behind_space(begin);
  after = sign;
  const std::uint8_t its_class = reader.take(after);
  if (after > sign && (its_class & (kSpace | kLetter | kNumber)) == 0) {
    return reader.line_ends(reader.run_without(after, kSpace | kLetter | kNumber));
  }
  return lines_or_spaces(reader, begin);
}
std::size_t qwen2(const Reader& reader, std::size_t begin) { return gpt4(reader, begin, 1); }
std::size_t llama3(const Reader& reader, std::size_t begin) { return gpt4(reader, begin, 3); }

std::size_t white_space(const Reader& reader, std::size_t begin) {
  return reader.run(begin, kSpace);
}

std::size_t two_spaces_or_more(const Reader& reader, std::size_t begin) {
  const std::size_t end = std::min(reader.text.find_first_not_of(' ', begin), reader.text.size());
  return end - begin >= 2 ? end : begin;
}

std::size_t three_digits(const Reader& reader, std::size_t begin) {
  std::size_t end = begin;
  for (int digits = 0; digits < 3; ++digits) {
    std::size_t after = end;
    if ((reader.take(after) & kNumber) == 0) break;
    end = after;
  }
  return end;
}

std::size_t han_and_kana(const Reader& reader, std::size_t begin) {
  std::size_t end = begin;
  while (end < reader.text.size()) {
    std::size_t after = end;
    const char32_t c = decode(reader.text, after);
    if (!(c >= 0x4E00 && c <= 0x9FA5) && !(c >= 0x3040 && c <= 0x30FF)) break;
    end = after;
  }
  return end;
}

std::size_t deepseek(const Reader& reader, std::size_t begin) {
  constexpr unsigned kWord = kLetter | kRegexMark;
  constexpr unsigned kSign = kRegexPunctuation | kRegexSymbol;
  const auto is_ascii_letter = [&](std::size_t at) {
    return at < reader.text.size() && ((reader.text[at] >= 'a' && reader.text[at] <= 'z') ||
                                       (reader.text[at] >= 'A' && reader.text[at] <= 'Z'));
  };
  std::size_t after = begin;
  const std::uint8_t first = reader.take(after);
  if (is_ascii_sign(reader.text[begin]) && is_ascii_letter(begin + 1)) {
    std::size_t end = begin + 1;
    while (is_ascii_letter(end)) ++end;
    return end;
  }
  if (!is_line_end(reader.text[begin]) && (first & (kLetter | kSign)) == 0) {
    std::size_t second = after;
    if ((reader.take(second) & kWord) != 0) return reader.run(second, kWord);
  }
  if ((first & kWord) != 0) return reader.run(after, kWord);
  const std::size_t sign = reader.behind_space(begin);
  const std::size_t behind_signs = reader.run(sign, kSign);
  if (behind_signs > sign) return reader.line_ends(behind_signs);
  return (first & kSpace) != 0 ? lines_or_spaces(reader, begin) : begin;
}

class KnownPattern final : public Pattern {
 public:
  using Matcher = std::size_t (*)(const Reader& reader, std::size_t begin);
  explicit KnownPattern(Matcher matcher) : matcher_(matcher) {}

  [[nodiscard]] Answer find(std::string_view text, std::size_t from, std::size_t /*last_end*/,
                            Match& match) const override {
    const Reader reader{.text = text, .classes = classes_};
    while (from < text.size()) {
      const std::size_t end = matcher_(reader, from);
      if (end > from) {
        match = {.begin = from, .end = end};
        return Answer::kFound;
      }
      skip(text, from);
    }
    return Answer::kNone;
  }

 private:
  Matcher matcher_;
  const std::uint8_t* classes_ = regex_classes().data();
};

struct Known {
  std::string_view regex;
  KnownPattern::Matcher matcher;
};
constexpr Known kKnown[] = {
    {kGpt2Pattern, gpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     qwen2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     llama3},
    {R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)", clip},
    {R"(\s+)", white_space},
    {" {2,}", two_spaces_or_more},
    {R"(\p{N}{1,3})", three_digits},
    {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
     han_and_kana},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
     deepseek},
};

}  // namespace

std::unique_ptr<Pattern> make_known_pattern(std::string_view regex) {
  for (const Known& known : kKnown) {
    if (known.regex == regex) return std::make_unique<KnownPattern>(known.matcher);
  }
  return nullptr;
}

}  // namespace nacelle::tokenizer
