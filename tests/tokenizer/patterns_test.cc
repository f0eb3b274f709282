// The well-known expressions matched by hand are the library's: the same matches on random texts.
#include <gtest/gtest.h>

#include <random>

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::uint64_t kSeed = 20240613;

// The expressions by the files that carry them.
const std::string kGpt4Start = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
const std::string kGpt4End = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kKnown[] = {
    std::string(kGpt2Pattern),
    kGpt4Start + R"(\p{N})" + kGpt4End,                              // Qwen2
    kGpt4Start + R"(\p{N}{1,3})" + kGpt4End,                         // Llama 3
    R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",  // CLIP
    R"(\s+)",
    " {2,}",
    // DeepSeek's three
    R"(\p{N}{1,3})",
    "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
};

const Section& section() {
  static const files::Json json = files::Json::object();
  static const Section made(json, "test", "pattern");
  return made;
}

std::string random_text(std::mt19937_64& random) {
  static const std::string kParts[] = {" ",
                                       "  ",
                                       "\n",
                                       "\r\n",
                                       "\t",
                                       "'",
                                       "'s",
                                       "'S",
                                       "'re",
                                       "'LL",
                                       "'\xC5\xBF",
                                       "a",
                                       "Bc",
                                       "1",
                                       "2345",
                                       "!",
                                       "?!",
                                       "-",
                                       "_",
                                       "$",
                                       "+",
                                       "\xEA\xB0\x80",
                                       "\xE4\xB8\x80",
                                       "\xE3\x81\x82",
                                       "\xCC\x81",
                                       "\xC2\xA0",
                                       "\xE3\x80\x80",
                                       "\xC2\xBD",
                                       "\xE2\x80\xA8",
                                       "\xF0\x9F\x91\x8D",
                                       "\xD9\xA3",
                                       "\xC2\x85"};
  std::string text;
  for (auto count = 1 + random() % 24; count > 0; --count) {
    if (random() % 8 != 0) {
      text += kParts[random() % std::size(kParts)];
      continue;
    }
    // Any letter up to Hangul's end: newer ones than the library knows stand behind it.
    const auto c = static_cast<char32_t>(random() % 0x800);
    append(text, c);
  }
  return text;
}

std::vector<std::pair<std::size_t, std::size_t>> matches(const Pattern& pattern,
                                                         std::string_view text) {
  start_pattern_clock(text.size());
  std::vector<std::pair<std::size_t, std::size_t>> found;
  std::size_t from = 0;
  std::size_t last_end = SIZE_MAX;
  Pattern::Match match;
  while (pattern.find(text, from, last_end, match) == Pattern::Answer::kFound) {
    found.emplace_back(match.begin, match.end);
    from = last_end = match.end;
  }
  return found;
}

TEST(Patterns, MatchedByHandAsByTheLibrary) {
  std::mt19937_64 random(kSeed);
  for (const std::string& regex : kKnown) {
    const auto by_hand = make_known_pattern(regex);
    ASSERT_NE(by_hand, nullptr) << regex;
    const auto by_library = make_library_regex(section(), regex);
    ASSERT_TRUE(by_library) << by_library.error().message;
    std::size_t compared = 0;
    for (int i = 0; i < 4000; ++i) {
      const std::string text = random_text(random);
      const auto found = matches(*by_hand, text);
      ASSERT_EQ(found, matches(**by_library, text))
          << regex << "\nseed " << kSeed << ", text " << i << ": "
          << files::Json(text).dump(-1, ' ', true);
      compared += found.size();
    }
    EXPECT_GT(compared, 500U) << regex;
  }
}

TEST(Patterns, AnotherExpressionGoesToTheLibrary) {
  EXPECT_EQ(make_known_pattern(std::string(kGpt2Pattern) + " "), nullptr);
  EXPECT_EQ(make_known_pattern(""), nullptr);
}

TEST(Patterns, AnExpressionThatIsNoneNamesTheReason) {
  for (const char* regex : {"(", "[", "\\p{Nonsense}", "(?<n>a)\\k<m>", "*"}) {
    const auto pattern = make_regex(section(), regex);
    ASSERT_FALSE(pattern) << regex;
    EXPECT_EQ(pattern.error().code, base::Code::kInvalid);
    EXPECT_NE(pattern.error().message.find("is not valid: "), std::string::npos);
  }
  EXPECT_FALSE(make_regex(section(), std::string(20'000, 'a')));
  EXPECT_FALSE(make_regex(section(), std::string(5000, '(') + std::string(5000, ')')));
}

// (a+)+b tries every way to cut the a's: the search gives up, the text is refused, nothing hangs.
TEST(Patterns, AnExpressionOfExponentialTimeGivesUp) {
  const auto pattern = make_regex(section(), "(?:a+)+(?:a+)+b");
  ASSERT_TRUE(pattern) << pattern.error().message;
  Pattern::Match match;
  EXPECT_EQ((*pattern)->find(std::string(5000, 'a') + "c", 0, SIZE_MAX, match),
            Pattern::Answer::kTooSlow);
  files::Json json = small_tokenizer();
  json["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(?:a+)+(?:a+)+b"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  const auto encoding = load_or_die(json)->encode(std::string(5000, 'a') + "c", 100);
  ASSERT_FALSE(encoding);
  EXPECT_NE(encoding.error().message.find("too many steps"), std::string::npos);
}

// Neither steps back nor steps of one search are too many here, but their sum: "b" is looked for
// behind every "a" until the text ends, and then behind the next.
TEST(Patterns, SearchesThatAreSlowTogetherAreCutShort) {
  for (const auto& [regex, text] :
       {std::pair<std::string, std::string>{"(?>a*)b", std::string(1 << 20, 'a')},
        {"(?=(?>[ax]*)b)x|a", std::string(1 << 19, 'a')}}) {
    files::Json json = small_tokenizer();
    json["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", regex}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    const auto tokenizer = load_or_die(json);
    const auto encoding = tokenizer->encode(text, text.size());
    ASSERT_FALSE(encoding) << regex;
    EXPECT_NE(encoding.error().message.find("too many steps"), std::string::npos);
    EXPECT_TRUE(tokenizer->encode("xa", 100));  // the next text has time of its own
  }
}

// A long text is tried character by character, its end searched by the library.
TEST(Patterns, AMatchIsFoundWhereverItBegins) {
  const auto pattern = make_library_regex(section(), "(?<=\u00e9)x{3}|(?<!y)z$");
  ASSERT_TRUE(pattern) << pattern.error().message;
  for (std::size_t before = 1; before < 6000; before += 97) {
    std::string text;
    while (text.size() < before) text += "\u00e9";
    const std::size_t place = text.size();
    text += "xxx";
    text.append(2000, ' ');
    const std::size_t last = text.size();
    text += "z";
    Pattern::Match match;
    ASSERT_EQ((*pattern)->find(text, 0, SIZE_MAX, match), Pattern::Answer::kFound);
    EXPECT_EQ(match.begin, place);
    EXPECT_EQ(match.end, place + 3);
    ASSERT_EQ((*pattern)->find(text, match.end, match.end, match), Pattern::Answer::kFound);
    EXPECT_EQ(match.begin, last);
    ASSERT_EQ((*pattern)->find(text, last + 1, last + 1, match), Pattern::Answer::kNone);
  }
}

}  // namespace
}  // namespace nacelle::tokenizer
