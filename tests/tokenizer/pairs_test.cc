// Two texts in one sequence: ids and types equal to those of Hugging Face's tokenizers, cut
// longest_first. Recorded by tests/golden/make_pair_goldens.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

using ::testing::HasSubstr;

TEST(Pairs, IdsAndTypesAreEqualUnderEveryLimit) {
  const files::Json goldens = read_golden(data_path("tokenizers/small/pairs.json"));
  const auto texts = goldens["texts"].get<std::vector<std::string>>();
  ASSERT_GE(goldens["cases"].size(), 4U);
  std::size_t cut = 0;
  std::size_t whole = 0;
  for (const files::Json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const auto tokenizer = load_or_die(merged(small_tokenizer(), golden["patch"]));
    for (const files::Json& row : golden["rows"]) {
      const std::string& first = texts[row[0].get<std::size_t>()];
      const std::string& second = texts[row[1].get<std::size_t>()];
      const auto limit = row[2].get<std::size_t>();
      SCOPED_TRACE("\"" + first + "\" and \"" + second + "\" in " + std::to_string(limit));
      const auto encoding = tokenizer->encode_pair(first, second, limit);
      ASSERT_TRUE(encoding) << encoding.error().message;
      EXPECT_EQ(encoding->ids, row[3].get<std::vector<std::uint32_t>>());
      EXPECT_EQ(encoding->types, row[4].get<std::vector<std::uint32_t>>());
      EXPECT_EQ(encoding->truncated, row[5].get<bool>());
      ++(encoding->truncated ? cut : whole);
    }
  }
  EXPECT_GT(cut, 100U);
  EXPECT_GT(whole, 100U);
}

// Both texts are longer than the room: which one keeps the odd token shows only at their ends.
TEST(Pairs, TheOddTokenGoesToTheLongerOfTwoLongTexts) {
  const auto tokenizer = load_or_die(small_tokenizer());
  const auto words = [](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += "movie ";
    return text;
  };
  const auto first_ids = [&](std::size_t first, std::size_t second) {
    const auto encoding = tokenizer->encode_pair(words(first), words(second), 3 + 101);
    EXPECT_TRUE(encoding);
    EXPECT_EQ(encoding->ids.size(), 104U);
    return std::count(encoding->types.begin(), encoding->types.end(), 0U) - 2;
  };
  EXPECT_EQ(first_ids(3001, 3000), 51);
  EXPECT_EQ(first_ids(3000, 3001), 50);
  EXPECT_EQ(first_ids(3000, 3000), 50);
  EXPECT_EQ(first_ids(102, 101), 51);
  EXPECT_EQ(first_ids(101, 102), 50);
  EXPECT_EQ(first_ids(3000, 40), 61);
}

TEST(Pairs, ErrorsSayWhichText) {
  const auto tokenizer = load_or_die(small_tokenizer());
  EXPECT_EQ(tokenizer->special_tokens_of_pair(), 3U);
  const auto no_room = tokenizer->encode_pair("a", "b", 2);
  ASSERT_FALSE(no_room);
  EXPECT_EQ(no_room.error().code, base::Code::kInvalid);
  EXPECT_THAT(no_room.error().message, HasSubstr("3 special tokens around two texts"));
  const auto first = tokenizer->encode_pair("a\xff", "b", 9);
  ASSERT_FALSE(first);
  EXPECT_THAT(first.error().message, HasSubstr("first text: the text is not UTF-8"));
  const auto second = tokenizer->encode_pair("a", "b\xff", 9);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("second text: the text is not UTF-8"));
}

}  // namespace
}  // namespace nacelle::tokenizer
