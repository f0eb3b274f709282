// encode(): limits, truncation, text that is not UTF-8, long texts, many threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sidecar/base/check.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Encode : public ::testing::Test {
 protected:
  [[nodiscard]] Encoding encode(std::string_view text, std::size_t tokens_max = SIZE_MAX) const {
    const auto encoding = tokenizer_->encode(text, tokens_max);
    CHECK(encoding.has_value());
    return *encoding;
  }
  [[nodiscard]] std::uint32_t id(const std::string& piece) const {
    return json_["model"]["vocab"].at(piece).get<std::uint32_t>();
  }

  const files::Json json_ = small_tokenizer();
  const std::unique_ptr<Tokenizer> tokenizer_ = load_or_die(json_);
};

std::string repeated(std::string_view part, std::size_t size) {
  std::string text;
  while (text.size() < size) text += part;
  return text;
}

TEST_F(Encode, AnEmptyTextIsItsSpecialTokens) {
  EXPECT_THAT(encode("").ids, ElementsAre(id("[CLS]"), id("[SEP]")));
  EXPECT_THAT(encode(" \t\r\n").ids, ElementsAre(id("[CLS]"), id("[SEP]")));
  EXPECT_FALSE(encode("").truncated);
  EXPECT_TRUE(tokenizer_->encode_plain("")->ids.empty());
}

TEST_F(Encode, ItTellsItsSizes) {
  EXPECT_EQ(tokenizer_->special_tokens(), 2U);
  EXPECT_EQ(tokenizer_->vocabulary_size(), json_["model"]["vocab"].size());
}

TEST_F(Encode, TruncationKeepsTheFrontAndTheSpecialTokens) {
  const Encoding whole = encode("the movie is really good");
  ASSERT_EQ(whole.ids.size(), 7U);
  for (std::size_t limit = 2; limit < 10; ++limit) {
    const Encoding cut = encode("the movie is really good", limit);
    EXPECT_EQ(cut.truncated, limit < 7) << limit;
    ASSERT_EQ(cut.ids.size(), std::min<std::size_t>(limit, 7)) << limit;
    EXPECT_EQ(cut.types.size(), cut.ids.size());
    EXPECT_EQ(cut.ids.back(), id("[SEP]"));
    for (std::size_t i = 0; i + 1 < cut.ids.size(); ++i) EXPECT_EQ(cut.ids[i], whole.ids[i]);
  }
}

TEST_F(Encode, TruncationInsideAWordAndAtAnAddedTokenIsExact) {
  const std::string text = "unhappyness[SEP]unhappyness";
  const Encoding whole = encode(text);
  for (std::size_t limit = 2; limit <= whole.ids.size() + 1; ++limit) {
    const Encoding cut = encode(text, limit);
    EXPECT_EQ(cut.truncated, limit < whole.ids.size()) << limit;
    ASSERT_EQ(cut.ids.size(), std::min(limit, whole.ids.size()));
    for (std::size_t i = 0; i + 1 < cut.ids.size(); ++i) EXPECT_EQ(cut.ids[i], whole.ids[i]);
  }
}

TEST_F(Encode, WhatIsDroppedBehindTheLimitDoesNotCountAsTruncated) {
  const std::string nothing = repeated(" \xE2\x80\x8B\n", 10'000);  // spaces and zero-width spaces
  EXPECT_FALSE(encode("the movie" + nothing, 4).truncated);
  EXPECT_TRUE(encode("the movie" + nothing + ".", 4).truncated);
}

TEST_F(Encode, ALimitWithoutRoomForTheSpecialTokensIsAnError) {
  for (const std::size_t limit : {0UL, 1UL}) {
    const auto encoding = tokenizer_->encode("a", limit);
    ASSERT_FALSE(encoding);
    EXPECT_EQ(encoding.error().code, base::Code::kInvalid);
    EXPECT_THAT(encoding.error().message, HasSubstr("2 special tokens"));
  }
}

TEST_F(Encode, TextThatIsNotUtf8NamesTheFirstBadByte) {
  const std::pair<std::string, int> cases[] = {
      {"\xff", 0},           {"the \xc3", 4},
      {"a\x80", 1},          {"\xc0\xaf", 0},
      {"ab\xed\xa0\x80", 2}, {"\xf4\x90\x80\x80", 0},
      {"\xe4\xb8", 0},       {"movie movie \xf0\x9f\x91", 12}};
  for (const auto& [text, offset] : cases) {
    const auto encoding = tokenizer_->encode(text, 100);
    ASSERT_FALSE(encoding) << offset;
    EXPECT_EQ(encoding.error().code, base::Code::kInvalid);
    EXPECT_THAT(encoding.error().message, HasSubstr("offset " + std::to_string(offset)));
  }
  // Also behind the place where a limit would have stopped.
  EXPECT_FALSE(tokenizer_->encode(repeated("movie ", 100'000) + "\xff", 8));
}

TEST_F(Encode, AWordAtTheLimitIsCutAndALongerOneIsUnknown) {
  EXPECT_EQ(encode(std::string(100, 'a')).ids.size(), 102U);
  EXPECT_THAT(encode(std::string(101, 'a')).ids,
              ElementsAre(id("[CLS]"), id("[UNK]"), id("[SEP]")));
}

// A MiB of everything that could make a careless tokenizer slow; ctest's timeout is the judge.
TEST_F(Encode, AMegabyteOfOneThingIsWorkOfOneMegabyte) {
  const std::pair<std::string_view, bool> cases[] = {
      {"a", false},
      {"a ", true},
      {"!", true},
      {"[", true},
      {"[SEP]", true},
      {"[SE", true},
      {"#", true},
      {" ", false},
      {std::string_view("\0", 1), false},
      {"\xCC\x81", false},
      {"a\xCC\x81", false},
      {"\xCC\x81\xCC\xA7", false},
      // Marks that survive and sort: U+302F U+302E, and U+1D16D U+1D165 of different classes.
      {"\xE3\x80\xAF\xE3\x80\xAE", false},
      {"\xF0\x9D\x85\xAD\xF0\x9D\x85\xA5", false},
      {"\xE6\x9D\xB1", true},  // an ideograph
      {"\xEA\xB0\x81", false},
      {"\xEA\xB0\x81 ", true},      // Hangul
      {"\xC4\xB0", false},          // I with a dot
      {"\xE2\x80\x8B", false},      // zero-width space
      {"\xF0\x9F\x91\x8D", false},  // an emoji
  };
  for (const auto& [part, more_than_fits] : cases) {
    const std::string text = repeated(part, 1U << 20U);
    const Encoding cut = encode(text, 128);
    EXPECT_EQ(cut.truncated, more_than_fits) << part;
    EXPECT_LE(cut.ids.size(), 128U);
    const auto whole = tokenizer_->encode_plain(text);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->ids.size() > 126, more_than_fits) << part;
  }
}

TEST_F(Encode, ManyThreadsShareOneTokenizer) {
  const std::string text = repeated("The naïve movie is really GOOD, 정말 재미있다! [MASK] ", 5000);
  const Encoding expected = encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (std::size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) equal[t] += encode(text).ids == expected.ids ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(20, 20, 20, 20));
}

// The file's own padding and truncation do not matter: the server packs and cuts by itself.
TEST_F(Encode, PaddingAndTruncationOfTheFileAreIgnored) {
  files::Json json = json_;
  json["truncation"] = {{"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 128}}}, {"pad_id", 0}};
  const auto tokenizer = load_or_die(json);
  EXPECT_EQ(tokenizer->encode("the movie is good", 100)->ids, encode("the movie is good").ids);
}

}  // namespace
}  // namespace nacelle::tokenizer
