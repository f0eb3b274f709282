// Splits by patterns, and the pre-tokenizers that are one.
#include "sidecar/tokenizer/split.h"

#include <utility>

#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

using Stretch = Cursor::Stretch;

// The next stretch of the piece, a match or what stands between two; nothing at its end.
std::optional<Stretch> next_stretch(Cursor& cursor, const Pattern& pattern, bool invert) {
  const auto give = [&](std::size_t begin, std::size_t end, bool is_match) {
    cursor.offset = end;
    return Stretch{.begin = begin, .end = end, .is_match = is_match != invert};
  };
  if (cursor.match) {
    const Stretch match = *cursor.match;
    cursor.match.reset();
    return give(match.begin, match.end, true);
  }
  if (!cursor.searched) {
    Pattern::Match match;
    const auto answer = pattern.find(cursor.text, cursor.search_from, cursor.last_match_end, match);
    if (answer == Pattern::Answer::kTooSlow) {
      cursor.failed = true;
      return std::nullopt;
    }
    if (answer == Pattern::Answer::kFound) {
      cursor.search_from = match.end;
      cursor.last_match_end = match.end;
      if (match.begin == cursor.offset) return give(match.begin, match.end, true);
      cursor.match = {.begin = match.begin, .end = match.end, .is_match = true};
      return give(cursor.offset, match.begin, false);
    }
    cursor.searched = true;
  }
  if (cursor.offset == cursor.text.size()) return std::nullopt;
  return give(cursor.offset, cursor.text.size(), false);
}

// The same, with what peek() has looked at first.
std::optional<Stretch> take(Cursor& cursor, const Pattern& pattern, bool invert) {
  if (!cursor.ahead) return next_stretch(cursor, pattern, invert);
  const std::optional<Stretch> stretch = cursor.ahead;
  cursor.ahead.reset();
  return stretch;
}
std::optional<Stretch> peek(Cursor& cursor, const Pattern& pattern, bool invert) {
  if (!cursor.ahead) cursor.ahead = next_stretch(cursor, pattern, invert);
  return cursor.ahead;
}

class CharPattern final : public Pattern {
 public:
  explicit CharPattern(std::function<bool(char32_t)> is_match) : is_match_(std::move(is_match)) {}

  [[nodiscard]] Answer find(std::string_view text, std::size_t from, std::size_t /*last_end*/,
                            Match& match) const override {
    while (from < text.size()) {
      const std::size_t begin = from;
      if (!is_match_(decode(text, from))) continue;
      match = {.begin = begin, .end = from};
      return Answer::kFound;
    }
    return Answer::kNone;
  }

 private:
  std::function<bool(char32_t)> is_match_;
};

class Literal final : public Pattern {
 public:
  explicit Literal(std::string literal) : literal_(std::move(literal)) {}

  [[nodiscard]] Answer find(std::string_view text, std::size_t from, std::size_t /*last_end*/,
                            Match& match) const override {
    if (literal_.empty()) return Answer::kNone;
    const std::size_t begin = text.find(literal_, from);
    if (begin == std::string_view::npos) return Answer::kNone;
    match = {.begin = begin, .end = begin + literal_.size()};
    return Answer::kFound;
  }

 private:
  std::string literal_;
};

class Split final : public PreTokenizer {
 public:
  Split(std::unique_ptr<Pattern> pattern, SplitRule rule, bool at_white_space)
      : pattern_(std::move(pattern)), rule_(rule), at_white_space_(at_white_space) {}

  [[nodiscard]] std::string_view next(Cursor& cursor) const override {
    return next_word(cursor, *pattern_, rule_);
  }
  [[nodiscard]] bool splits_at_white_space() const override { return at_white_space_; }

 private:
  std::unique_ptr<Pattern> pattern_;
  SplitRule rule_;
  bool at_white_space_;
};

std::unique_ptr<PreTokenizer> split_by(std::unique_ptr<Pattern> pattern, SplitRule rule,
                                       bool at_white_space = false) {
  return std::make_unique<Split>(std::move(pattern), rule, at_white_space);
}

bool is_white_space(char32_t c) { return (unicode_facts()[c] & kWhiteSpace) != 0; }
bool is_punctuation(char32_t c) { return (unicode_facts()[c] & kPunctuation) != 0; }

// \w+|[^\w\s]+
class WhitespacePattern final : public Pattern {
 public:
  [[nodiscard]] Answer find(std::string_view text, std::size_t from, std::size_t /*last_end*/,
                            Match& match) const override {
    std::size_t end = from;
    int kind = 0;
    while (end < text.size()) {
      std::size_t after = end;
      const char32_t c = decode(text, after);
      const int its_kind = is_word(c) ? 1 : is_white_space(c) ? 0 : 2;
      if (its_kind != kind) {
        if (kind != 0) break;
        kind = its_kind;
        from = end;
      }
      end = after;
    }
    if (kind == 0) return Answer::kNone;
    match = {.begin = from, .end = end};
    return Answer::kFound;
  }
};

}  // namespace

std::string_view next_word(Cursor& cursor, const Pattern& pattern, SplitRule rule) {
  while (true) {
    std::optional<Stretch> word = take(cursor, pattern, rule.invert);
    if (!word) return {};
    if (rule.behavior == Behavior::kRemoved && word->is_match) continue;
    const auto joins = [&](const Stretch& behind) {
      switch (rule.behavior) {
        case Behavior::kRemoved:
        case Behavior::kIsolated:
          return false;
        case Behavior::kMergedWithPrevious:
          return !word->is_match && behind.is_match;
        case Behavior::kMergedWithNext:
          return word->is_match && !behind.is_match;
        case Behavior::kContiguous:
          return word->is_match == behind.is_match;
      }
      return false;
    };
    if (rule.behavior != Behavior::kRemoved && rule.behavior != Behavior::kIsolated) {
      std::optional<Stretch> behind = peek(cursor, pattern, rule.invert);
      while (behind && joins(*behind)) {
        word->end = behind->end;
        cursor.ahead.reset();
        if (rule.behavior != Behavior::kContiguous) break;
        behind = peek(cursor, pattern, rule.invert);
      }
    }
    if (cursor.failed) return {};
    if (word->end > word->begin) return cursor.text.substr(word->begin, word->end - word->begin);
  }
}

bool replace_matches(std::string_view text, const Pattern& pattern, std::string_view content,
                     std::string& out) {
  const std::size_t size_max = out.size() + normal_size_max(text);
  std::size_t done = 0;
  std::size_t last_end = SIZE_MAX;
  while (true) {
    Pattern::Match match;
    const auto answer = pattern.find(text, done, last_end, match);
    if (answer == Pattern::Answer::kTooSlow) return false;
    if (answer == Pattern::Answer::kNone) break;
    out.append(text, done, match.begin - done);
    out += content;
    if (out.size() > size_max) return false;
    done = match.end;
    last_end = match.end;
  }
  out.append(text, done);
  return true;
}

std::unique_ptr<Pattern> make_char_pattern(std::function<bool(char32_t)> is_match) {
  return std::make_unique<CharPattern>(std::move(is_match));
}

base::Result<std::unique_ptr<Pattern>> make_pattern(const Section& section) {
  const auto pattern = section.object("pattern");
  if (!pattern) return pattern.error();
  const base::Status keys = pattern->only({"String", "Regex"});
  if (!keys) return keys.error();
  if (pattern->json().size() != 1) {
    return section.error("pattern", "must be either a String or a Regex");
  }
  const bool is_regex = pattern->has("Regex");
  auto text = pattern->text(is_regex ? "Regex" : "String");
  if (!text) return text.error();
  if (is_regex) return make_regex(*pattern, *text);
  return std::unique_ptr<Pattern>(std::make_unique<Literal>(std::move(*text)));
}

base::Result<Behavior> read_behavior(const Section& section) {
  const auto name = section.text("behavior");
  if (!name) return name.error();
  static constexpr std::pair<std::string_view, Behavior> kNames[] = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  std::string known;
  for (const auto& [its_name, behavior] : kNames) {
    if (its_name == *name) return behavior;
    known += (known.empty() ? "" : ", ") + std::string(its_name);
  }
  return section.error("behavior", files::in_quotes(*name) + " is not known; known: " + known);
}

PreTokenizerResult make_split(const Section& section) {
  const base::Status keys = section.only({"type", "pattern", "behavior", "invert"});
  if (!keys) return keys.error();
  auto pattern = make_pattern(section);
  if (!pattern) return pattern.error();
  const auto behavior = read_behavior(section);
  if (!behavior) return behavior.error();
  const auto invert = section.boolean("invert");
  if (!invert) return invert.error();
  return split_by(std::move(*pattern), {.behavior = *behavior, .invert = *invert});
}

PreTokenizerResult make_whitespace(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return split_by(std::make_unique<WhitespacePattern>(),
                  {.behavior = Behavior::kRemoved, .invert = true}, true);
}

PreTokenizerResult make_whitespace_split(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return split_by(make_char_pattern(is_white_space), {.behavior = Behavior::kRemoved}, true);
}

PreTokenizerResult make_punctuation(const Section& section) {
  const base::Status keys = section.only({"type", "behavior"});
  if (!keys) return keys.error();
  base::Result<Behavior> behavior = Behavior::kIsolated;
  if (section.has("behavior")) behavior = read_behavior(section);
  if (!behavior) return behavior.error();
  return split_by(make_char_pattern(is_punctuation), {.behavior = *behavior});
}

PreTokenizerResult make_digits(const Section& section) {
  const base::Status keys = section.only({"type", "individual_digits"});
  if (!keys) return keys.error();
  const auto individual = section.boolean("individual_digits");
  if (!individual) return individual.error();
  return split_by(make_char_pattern(is_numeric),
                  {.behavior = *individual ? Behavior::kIsolated : Behavior::kContiguous});
}

PreTokenizerResult make_delimiter(const Section& section) {
  const base::Status keys = section.only({"type", "delimiter"});
  if (!keys) return keys.error();
  const auto delimiter = section.character("delimiter");
  if (!delimiter) return delimiter.error();
  const char32_t code_point = *delimiter;
  return split_by(make_char_pattern([code_point](char32_t c) { return c == code_point; }),
                  {.behavior = Behavior::kRemoved});
}

}  // namespace nacelle::tokenizer
