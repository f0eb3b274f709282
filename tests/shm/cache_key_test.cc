// Keys against Python's hashlib (tests/golden/make_cache_keys.py printed them), and one against
// another: what decides an answer decides its key, and nothing else does.
#include "shm/cache_key.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace nacelle::shm {
namespace {

std::string hex(const CacheKey& key) {
  std::string text;
  for (const std::byte byte : key.bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<unsigned>(byte) >> 4U];
    text += kDigits[static_cast<unsigned>(byte) & 15U];
  }
  return text;
}

// 0, 1, 2 ... 31.
std::array<std::byte, 32> counting() {
  std::array<std::byte, 32> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

TEST(CacheKey, IsWhatHashlibSays) {
  const std::array<std::byte, 32> answers = counting();
  const CacheKeys embed({.domain = "uid:1000", .answers = answers});
  EXPECT_EQ(hex(embed.of("hello world")),
            "ffc835412f00276ee306814306fa3f5678b2fec50d5fffb15727d62ac205c91e");
  EXPECT_EQ(hex(embed.of("")), "415c54c6dbbd2add490c303540940ef6458a8f2adab3a1c8002af6a5e1297dfe");
  const CacheKeys asked({.domain = "pod",
                         .answers = answers,
                         .parameters = {.element = Element::kFloat16,
                                        .prompt = Prompt::kText,
                                        .dimensions = 64,
                                        .prompt_size = 7},
                         .prompt = "query: "});
  EXPECT_EQ(hex(asked.of("정말 재미있는 영화였어요")),
            "3523db658511c1df23ed5cbfda8d5c7bd63d5cf427c5d671161b9e754f0b6e22");
  const CacheKeys labels({.domain = "uid:0",
                          .answers = answers,
                          .op = Op::kClassify,
                          .parameters = {.function = Function::kNone}});
  EXPECT_EQ(hex(labels.of(std::string(1000, 'x'))),
            "faf26338de680d6a50ca724e89d82ddd93ab214206e5ed51fc6ceeb3a143c90c");
  const CacheKeys rank(
      {.domain = "uid:1000", .answers = answers, .op = Op::kRerank, .query = "what is it?"});
  EXPECT_EQ(hex(rank.of("a document")),
            "35c98dd08da6d1a86a155b8802180306f374d28d7e01d7c4d342be4249e02887");
}

// One row per part: another value of it, everything else the same, is another key than all others.
TEST(CacheKey, EveryPartDecidesIt) {
  const std::array<std::byte, 32> answers = counting();
  std::array<std::byte, 32> other_answers = answers;
  other_answers[31] ^= std::byte{1};
  const CacheContext base{.domain = "uid:1", .answers = answers};
  struct Row {
    const char* what;
    CacheContext context;
    std::string text = "a text";
  };
  const auto with = [&base](auto&& change) {
    CacheContext context = base;
    change(context);
    return context;
  };
  using C = CacheContext;
  const CacheContext other_model{.domain = "uid:1", .answers = other_answers};
  const std::vector<Row> rows = {
      {"nothing", base},
      {"the text", base, "a Text"},
      {"the domain", with([](C& c) { c.domain = "uid:2"; })},
      {"the answers digest", other_model},
      {"the op", with([](C& c) { c.op = Op::kClassify; })},
      {"element", with([](C& c) { c.parameters.element = Element::kInt8; })},
      {"normalize", with([](C& c) { c.parameters.normalize = Normalize::kOff; })},
      {"function", with([](C& c) { c.parameters.function = Function::kNone; })},
      {"long_input", with([](C& c) { c.parameters.long_input = LongInput::kReject; })},
      {"the kind of prompt", with([](C& c) { c.parameters.prompt = Prompt::kText; })},
      {"dimensions", with([](C& c) { c.parameters.dimensions = 8; })},
      {"the prompt", with([](C& c) { c.prompt = "p"; })},
      {"the query", with([](C& c) { c.query = "q"; })},
      {"an empty query", with([](C& c) { c.query = ""; })},
  };
  std::map<std::string, const char*> seen;
  for (const Row& row : rows) {
    const auto [place, is_new] = seen.emplace(hex(CacheKeys(row.context).of(row.text)), row.what);
    EXPECT_TRUE(is_new) << row.what << " gives the key of " << place->second;
  }
}

// The same bytes, cut elsewhere.
TEST(CacheKey, PartsDoNotRunIntoEachOther) {
  const std::array<std::byte, 32> answers = counting();
  const auto rank = [&](const char* query, const char* document) {
    return CacheKeys({.domain = "pod", .answers = answers, .op = Op::kRerank, .query = query})
        .of(document);
  };
  EXPECT_NE(rank("ab", "c"), rank("a", "bc"));
  EXPECT_NE(rank("", "abc"), rank("abc", ""));
  const auto embed = [&](const char* prompt, const char* text) {
    return CacheKeys({.domain = "pod", .answers = answers, .prompt = prompt}).of(text);
  };
  EXPECT_NE(embed("query: ", "a"), embed("query:", " a"));

  PartsDigest one;
  one.add("ab");
  one.add("c");
  PartsDigest other;
  other.add("a");
  other.add("bc");
  EXPECT_NE(one.value(), other.value());
  PartsDigest nothing;
  PartsDigest empty_part;
  empty_part.add("");
  EXPECT_NE(nothing.value(), empty_part.value());
}

TEST(CacheKey, AKeyDoesNotDependOnTheKeysBefore) {
  const std::array<std::byte, 32> answers = counting();
  const CacheKeys keys({.domain = "pod", .answers = answers});
  const CacheKey first = keys.of("one");
  EXPECT_NE(keys.of("two"), first);
  EXPECT_EQ(keys.of("one"), first);
}

// What calls and services may say of the cache, and what becomes of it.
TEST(CacheUse, TheOperatorsNoStands) {
  using enum CacheMode;
  struct Row {
    CacheMode service;
    CacheMode call;
    bool reads;
    bool puts;
  };
  const Row rows[] = {
      {kUse, kService, true, true},        {kUse, kUse, true, true},
      {kUse, kBypass, false, false},       {kUse, kReadOnly, true, false},
      {kUse, kRefresh, false, true},       {kRefresh, kService, false, true},
      {kRefresh, kUse, true, true},        {kRefresh, kBypass, false, false},
      {kRefresh, kReadOnly, true, false},  {kRefresh, kRefresh, false, true},
      {kReadOnly, kService, true, false},  {kReadOnly, kUse, true, false},
      {kReadOnly, kBypass, false, false},  {kReadOnly, kReadOnly, true, false},
      {kReadOnly, kRefresh, false, false}, {kBypass, kService, false, false},
      {kBypass, kUse, false, false},       {kBypass, kBypass, false, false},
      {kBypass, kReadOnly, false, false},  {kBypass, kRefresh, false, false},
  };
  for (const Row& row : rows) {
    const CacheUse use = cache_use(row.service, row.call);
    EXPECT_EQ(use.reads, row.reads) << int(row.service) << " " << int(row.call);
    EXPECT_EQ(use.puts, row.puts) << int(row.service) << " " << int(row.call);
  }
}

}  // namespace
}  // namespace nacelle::shm
