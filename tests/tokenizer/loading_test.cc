// Files made to take too much memory: each is refused with a reason, or loaded, within 64 MiB and 4
// bytes for each of its own. Every file is loaded in a process of its own, whose peak is measured.
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <random>
#include <string>

#include "tests/support/temp_dir.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsOurs = false;  // a sanitizer takes much for itself
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kMemoryIsOurs = false;
#else
constexpr bool kMemoryIsOurs = true;
#endif
#else
constexpr bool kMemoryIsOurs = true;
#endif

constexpr std::size_t kMiB = std::size_t{1} << 20U;

std::string times(std::size_t count, std::string_view part) {
  std::string text;
  text.reserve(count * part.size());
  for (std::size_t i = 0; i < count; ++i) text += part;
  return text;
}

// `count` elements with commas between them.
std::string list(std::size_t count, const std::function<std::string(std::size_t)>& element) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    text += element(i);
  }
  return text;
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

// One character for each number below 20,000, of three bytes.
std::string character(std::size_t number) {
  const std::size_t c = 0x4E00 + number;
  return {static_cast<char>(0xE0 | c >> 12U), static_cast<char>(0x80 | (c >> 6U & 0x3FU)),
          static_cast<char>(0x80 | (c & 0x3FU))};
}

// Files around a model, and around parts of one.
std::string file(const std::string& model, const std::string& others = "") {
  return "{" + others + (others.empty() ? "" : ",") + "\"model\":" + model + "}";
}
std::string bpe(const std::string& vocab, const std::string& merges) {
  return R"({"type":"BPE","vocab":{)" + vocab + R"(},"merges":[)" + merges + "]}";
}
std::string unigram(const std::string& vocab) {
  return R"({"type":"Unigram","unk_id":0,"vocab":[)" + vocab + "]}";
}
std::string wordpiece(const std::string& vocab) {
  return R"({"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##",)"
         R"("max_input_chars_per_word":100,"vocab":{"u":0)" +
         vocab + "}}";
}
const std::string kSmall = bpe(R"("a":0,"b":1)", "");
std::string with_normalizer(const std::string& normalizer, const std::string& others = "") {
  return file(kSmall, R"("normalizer":)" + normalizer + others);
}
std::string with_charsmap(const std::string& base64) {
  return with_normalizer(R"({"type":"Precompiled","precompiled_charsmap":")" + base64 + "\"}");
}
std::string split(const std::string& regex) {
  return R"({"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":)" +
         quoted(regex) + "}}";
}
std::string with_patterns(std::size_t count, const std::string& regex) {
  return file(kSmall, R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[)" +
                          times(count - 1, split(regex) + ",") + split(regex) + "]}");
}

// A token that is added; `normalized`: it is looked for in the normal form.
std::string added(std::size_t id, const std::string& content, bool normalized) {
  return "{\"id\":" + std::to_string(id) + ",\"content\":\"" + content +
         R"(","single_word":false,"lstrip":false,"rstrip":false,"special":true,"normalized":)" +
         (normalized ? "true}" : "false}");
}
std::string with_added(std::size_t count, bool normalized,
                       const std::function<std::string(std::size_t)>& content) {
  return R"("added_tokens":[)" +
         list(count, [&](std::size_t i) { return added(2 + i, content(i), normalized); }) + "]";
}

// A map of characters whose trie is `units`.
std::string charsmap(const std::vector<std::uint32_t>& units, const std::string& texts) {
  std::string bytes;
  const auto put = [&](std::uint32_t number) {
    for (unsigned i = 0; i < 4; ++i) bytes += static_cast<char>(number >> 8 * i & 0xFFU);
  };
  put(static_cast<std::uint32_t>(units.size() * 4));
  for (const std::uint32_t unit : units) put(unit);
  bytes += texts;
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = three << 8U | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (unsigned k = 0; k < 4; ++k) text += kDigits[three >> (18 - 6 * k) & 63U];
  }
  while (text.size() % 4 != 0) text += '=';
  return with_charsmap(text);
}
std::vector<std::uint32_t> random_units(std::size_t count) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same in every run
  std::vector<std::uint32_t> units(count);
  for (std::uint32_t& unit : units) unit = static_cast<std::uint32_t>(random());
  return units;
}

struct Hostile {
  const char* name;
  std::function<std::string()> make;
  const char* reason;  // why it is refused; nullptr: it loads; "": either
};

const Hostile kHostile[] = {
    {"DepthOfAMillion", [] { return R"({"padding":)" + times(1'000'000, "["); },
     "nesting is deeper than 64"},
    {"DepthOfAMillionInTheVocabulary",
     [] { return R"({"model":{"vocab":)" + times(1'000'000, "["); }, "nesting is deeper than 64"},
    {"ManySmallValues", [] { return R"({"padding":[)" + times(kMiB, "0,") + "0]}"; },
     "more than 300000 values"},
    {"SmallValuesToTheLimit",
     [] {
       return file(kSmall, R"("padding":{)" + list(299'000, [](std::size_t i) {
                             return quoted(std::to_string(i)) + ":{}";
                           }) + "}");
     },
     nullptr},
    {"ManySmallListsAsPieces", [] { return file(unigram(times(4 * kMiB, "[],") + "[]")); },
     "model.vocab[0]: must be a piece"},
    {"ManySmallObjectsAsMerges", [] { return file(bpe("\"a\":0", times(4 * kMiB, "{},") + "{}")); },
     "model.merges[0]: must be two pieces"},
    {"AnIdOfAHundredMillion", [] { return file(bpe("\"a\":100000000", "")); },
     "the id of \"a\" is not a whole number from 0 to 16777215"},
    {"AnAddedIdOfAHundredMillion",
     [] { return file(kSmall, "\"added_tokens\":[" + added(100'000'000, "x", false) + "]"); },
     "added_tokens[0].id must be a whole number from 0 to 16777215"},
    {"IdsFarApart", [] { return file(bpe(R"("a":0,"b":8388608,"c":16777215)", "")); }, nullptr},
    {"AnIdTwice", [] { return file(bpe(R"("a":1,"b":1)", "")); }, "two pieces have the id 1"},
    {"APieceTwice", [] { return file(bpe(R"("a":1,"\u0061":2)", "")); },
     "model.vocab: holds \"a\" twice"},
    {"AVocabularyTwice", [] { return R"({"model":{"vocab":{},"vocab":{}}})"; },
     "key \"vocab\" appears twice"},
    {"AHugePiece", [] { return file(bpe(quoted(std::string(63 * kMiB, 'a')) + ":0", "")); },
     nullptr},
    {"AHugePieceEscaped", [] { return file(bpe(quoted(times(2 * kMiB, "\\u0061")) + ":0", "")); },
     nullptr},
    {"AHugePieceInATrie",
     [] { return file(wordpiece("," + quoted(std::string(63 * kMiB, 'a')) + ":1")); },
     "too many distinct beginnings of pieces"},
    {"AHugePieceWithAScore",
     [] { return file(unigram("[" + quoted(std::string(16 * kMiB, 'a')) + ",-1]")); },
     "model.vocab[0]: is longer than 128 characters"},
    {"AHugeKey", [] { return "{" + quoted(std::string(16 * kMiB, 'a')) + ":0}"; }, "is not known"},
    {"AHugeMerge", [] { return file(bpe("\"a\":0", quoted(std::string(16 * kMiB, 'a') + " b"))); },
     "model.merges[0]: names"},
    {"LongPiecesInATrie",
     [] {
       return file(unigram(list(480'000, [](std::size_t i) {
         return "[\"" + std::to_string(1'000'000 + i) + std::string(120, 'a') + "\",-1]";
       })));
     },
     "too many distinct beginnings of pieces"},
    {"AMillionPiecesInATrie",
     [] {
       return file(unigram(list(
           1'000'000, [](std::size_t i) { return "[" + quoted(std::to_string(i)) + ",-1]"; })));
     },
     nullptr},
    {"TwoMillionPieces",
     [] { return file(unigram(times(2'000'000, "[\"a\",-1],") + "[\"a\",-1]")); },
     "has more than 1048576 pieces"},
    {"AMillionPiecesOfOneText",
     [] { return file(unigram(times(1'000'000, "[\"\",1],") + "[\"a\",1]")); }, nullptr},
    {"AMillionMergesOfOnePair",
     [] { return file(bpe(R"("a":0,"aa":1)", times(1'000'000, "\"a a\",") + "\"a a\"")); },
     nullptr},
    {"TwoMillionMerges",
     [] { return file(bpe(R"("a":0,"aa":1)", times(2'000'000, "\"a a\",") + "\"a a\"")); },
     "has more than 1048576 merges"},
    {"AMillionMergesOfMillionPieces",
     [] {
       std::string vocab =
           list(1000, [](std::size_t i) { return quoted(character(i)) + ":" + std::to_string(i); });
       for (std::size_t i = 0; i < 1'000'000; ++i) {
         vocab +=
             ",\"" + character(i / 1000) + character(i % 1000) + "\":" + std::to_string(1000 + i);
       }
       return file(bpe(vocab, list(1'000'000, [](std::size_t i) {
                         return "[\"" + character(i / 1000) + "\",\"" + character(i % 1000) + "\"]";
                       })));
     },
     nullptr},
    {"AChainOfMerges",
     [] {
       const auto run = [](std::size_t i) { return quoted(std::string(i + 1, 'a')); };
       return file(bpe(list(5000, [&](std::size_t i) { return run(i) + ":" + std::to_string(i); }),
                       list(4999, [&](std::size_t i) { return "[" + run(i) + ",\"a\"]"; })));
     },
     nullptr},
    {"AMergeOfAnUnknownPiece", [] { return file(bpe(R"("a":0)", "\"a x\"")); },
     "model.merges[0]: names \"x\""},
    {"ScoresThatAreNotFinite", [] { return file(unigram("[\"a\",-1e999]")); }, "not valid JSON"},
    {"ScoresThatAreNoNumbers", [] { return file(unigram("[\"a\",NaN]")); }, "not valid JSON"},
    {"ScoresAtTheEnd", [] { return file(unigram(R"(["a",-1.7e308],["b",1.7e308],["c",5e-324])")); },
     nullptr},
    {"LoneSurrogatesInThePieces", [] { return file(bpe("\"\\ud800\":0", "")); }, "not valid JSON"},
    {"LoneSurrogatesInTheMerges", [] { return file(bpe("\"a\":0", "\"a \\udc00\"")); },
     "not valid JSON"},
    {"LoneSurrogatesInScored", [] { return file(unigram("[\"\\ud800a\",-1]")); }, "not valid JSON"},
    {"LoneSurrogatesInAddedTokens",
     [] { return file(kSmall, "\"added_tokens\":[" + added(2, "\\udfff", true) + "]"); },
     "not valid JSON"},
    {"LoneSurrogatesInKeys", [] { return R"({"\ud800":0})"; }, "not valid JSON"},
    {"LoneSurrogatesInPatterns",
     [] { return file(kSmall, "\"pre_tokenizer\":" + split("\\ud800")); }, "not valid JSON"},
    {"LoneSurrogatesInTheNormalizer",
     [] { return with_normalizer(R"({"type":"Prepend","prepend":"\udbff"})"); }, "not valid JSON"},
    {"ManyAddedTokens",
     [] {
       return file(kSmall, with_added(32'768, false,
                                      [](std::size_t i) { return "<" + std::to_string(i) + ">"; }));
     },
     nullptr},
    {"TooManyAddedTokens",
     [] {
       return file(kSmall, with_added(33'000, false,
                                      [](std::size_t i) { return "<" + std::to_string(i) + ">"; }));
     },
     "added_tokens has 33000 elements; the limit is 32768"},
    {"LongAddedTokens",
     [] {
       return file(kSmall, with_added(30'000, false, [](std::size_t i) {
                     return std::to_string(100'000 + i) + std::string(500, 'a');
                   }));
     },
     "added_tokens hold too much text"},
    {"AddedTokensWithLongNormalForms",
     [] {
       return with_normalizer(
           R"({"type":"Sequence","normalizers":[)" +
               times(31, R"({"type":"Prepend","prepend":")" + std::string(500, 'x') + "\"},") +
               R"({"type":"NFC"}]})",
           "," + with_added(30'000, true,
                            [](std::size_t i) { return "<" + std::to_string(i) + ">"; }));
     },
     "added_tokens hold too much text"},
    {"AddedTokensThatExpand",
     [] {
       return with_normalizer(R"({"type":"NFKC"})",
                              "," + with_added(30'000, true, [](std::size_t i) {
                                return std::to_string(i) + times(160, "\xEF\xB7\xBA");
                              }));
     },
     "added_tokens hold too much text"},
    {"AHugeMapOfCharacters", [] { return with_charsmap(std::string(63 * kMiB, 'A')); }, ""},
    {"AMapOfRandomBytes", [] { return charsmap(random_units(4096), "abc"); }, nullptr},
    {"AHugeMapOfRandomBytes",
     [] { return charsmap(random_units(3 * kMiB), std::string(4 * kMiB, 'x')); }, nullptr},
    {"AMapInCircles",
     [] {
       // Each unit says that its byte was found and leads back to unit 0.
       std::vector<std::uint32_t> units(512);
       for (std::uint32_t i = 0; i < 512; ++i) units[i] = (i & 0xFFU) | i << 10U;
       return charsmap(units, "");
     },
     nullptr},
    {"AMapWithTextsPastTheEnd",
     [] {
       std::vector<std::uint32_t> units(512, 0x7FFFFFFFU);
       for (std::uint32_t i = 0; i < 256; ++i) units[i] = i | 1U << 8U | 256U << 10U;
       return charsmap(units, "x");
     },
     nullptr},
    {"AMapWhoseTrieIsLonger", [] { return with_charsmap("////fwAA"); }, "tells of a trie of"},
    {"AHugePattern", [] { return with_patterns(1, std::string(16 * kMiB, 'a')); },
     "bytes of regular expressions; the limit is 4096"},
    {"ManyParentheses", [] { return with_patterns(1, times(2000, "(") + times(2000, ")")); },
     "is not valid"},
    {"TooManyPatterns", [] { return with_patterns(32, times(129, "a")); },
     "has 4128 bytes of regular expressions; the limit is 4096"},
    {"RepeatsOfRepeats", [] { return with_patterns(32, "((((a{99}){99}){99}){99}){99}"); }, ""},
    {"ManyRepeats", [] { return with_patterns(1, times(500, R"(\\p{L}{9})")); }, ""},
    {"LongRepeats", [] { return with_patterns(1, times(300, R"([\\p{L}]{99999})")); }, ""},
    {"ManyClasses", [] { return with_patterns(1, times(800, R"(\\P{L})")); }, nullptr},
    {"ManyNegatedClasses", [] { return with_patterns(1, times(500, R"([^\\p{L}])")); }, nullptr},
    {"ManyClassesOfEitherCase",
     [] { return with_patterns(1, "(?i)" + times(500, R"([\\p{L}a])")); }, nullptr},
    {"ManyClassesInOne",
     [] { return with_patterns(1, "(?i)[" + times(500, R"([^\\p{L}])") + "]"); }, nullptr},
    {"CommonClasses",
     [] { return with_patterns(1, "(?i)[" + times(340, R"(\\p{L}&&\\w&&)") + "a]"); }, ""},
    {"FoldedLetters", [] { return with_patterns(1, "(?i)" + times(2000, "ss")); }, ""},
    {"FoldedLigatures", [] { return with_patterns(1, "(?i)" + times(1300, "ffi")); }, ""},
    {"Graphemes", [] { return with_patterns(1, times(2000, R"(\\X)")); }, ""},
    {"LineBreaks", [] { return with_patterns(1, times(2000, R"(\\R)")); }, ""},
    {"Alternatives", [] { return with_patterns(1, "(?i)" + times(2000, "s|")); }, ""},
    {"LookBehinds", [] { return with_patterns(1, times(450, "(?<=a|b)")); }, ""},
    {"NestedLookBehinds", [] { return with_patterns(1, times(100, "(?<=a?b|") + times(100, ")")); },
     ""},
    {"Calls", [] { return with_patterns(1, "(?<a>b" + times(650, R"(\\g<a>?)") + ")"); }, ""},
    {"CatastrophicPatterns", [] { return with_patterns(32, "(a*)*b|(a|aa)+$|(.*)*x"); }, nullptr},
    {"Backreferences", [] { return with_patterns(1, times(800, "(a?)") + "\\\\800"); }, ""},
};

class Loading : public ::testing::TestWithParam<Hostile> {};
INSTANTIATE_TEST_SUITE_P(Files, Loading, ::testing::ValuesIn(kHostile),
                         [](const auto& named) { return named.param.name; });

TEST_P(Loading, StaysWithinItsMemory) {
  const testing::TempDir dir;
  std::size_t size = 0;
  std::string path;
  {
    const std::string text = GetParam().make();
    size = text.size();
    path = dir.write("tokenizer.json", text);
  }
  ASSERT_LE(size, 64 * kMiB);
  // NOLINTNEXTLINE(cert-env33-c): our own program
  FILE* const child = ::popen((std::string(LOAD_PEAK) + " '" + path + "'").c_str(), "r");
  ASSERT_NE(child, nullptr);
  std::string said;
  for (int c = 0; (c = std::fgetc(child)) != EOF && c != '\n';) said += static_cast<char>(c);
  EXPECT_EQ(::pclose(child), 0) << "the process ended badly; it said: " << said;
  long kib = 0;
  long ms = 0;
  int read = 0;
  ASSERT_EQ(std::sscanf(said.c_str(), "%ld %ld %n", &kib, &ms, &read), 2) << said;
  const std::string outcome = said.substr(static_cast<std::size_t>(read));
  std::printf("%.1f MiB, %ld ms of CPU for %.1f MiB: %.200s\n", static_cast<double>(kib) / 1024, ms,
              static_cast<double>(size) / static_cast<double>(kMiB), outcome.c_str());
  if (kMemoryIsOurs) {
    EXPECT_LE(static_cast<std::size_t>(kib) * 1024, 64 * kMiB + 4 * size);
  }
  if (GetParam().reason == nullptr) {
    EXPECT_EQ(outcome, "loaded");
  } else {
    EXPECT_NE(outcome.find(GetParam().reason), std::string::npos) << outcome;
  }
}

}  // namespace
}  // namespace nacelle::tokenizer
