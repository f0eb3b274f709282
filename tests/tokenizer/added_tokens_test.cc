// Which added tokens are found in a text, and where.
#include "sidecar/tokenizer/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nacelle::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What is found, as "id:begin-end".
std::vector<std::string> found(const std::vector<AddedToken>& tokens, std::string_view text) {
  AddedTokenFinder finder;
  for (const AddedToken& token : tokens) EXPECT_TRUE(finder.add(token));
  std::vector<std::string> result;
  AddedTokenFinder::Walk walk(finder, text);
  AddedTokenFinder::Found one;
  while (walk.next(one)) {
    result.push_back(std::to_string(one.id) + ":" + std::to_string(one.begin) + "-" +
                     std::to_string(one.end));
  }
  return result;
}

TEST(AddedTokens, LeftmostThenLongestAndNeverOverlapping) {
  const std::vector<AddedToken> tokens = {{.content = "aba", .id = 1}, {.content = "ab", .id = 2}};
  EXPECT_THAT(found(tokens, "xababab"), ElementsAre("1:1-4", "2:5-7"));
  EXPECT_THAT(found(tokens, "xaxb"), IsEmpty());
  EXPECT_THAT(found(tokens, ""), IsEmpty());
  EXPECT_THAT(found({}, "abc"), IsEmpty());
}

TEST(AddedTokens, ASingleWordIsTouchedByNoWordCharacter) {
  const std::vector<AddedToken> tokens = {{.content = "ab", .id = 1, .single_word = true}};
  EXPECT_THAT(found(tokens, "ab ab, (ab) ab"), ElementsAre("1:0-2", "1:3-5", "1:8-10", "1:12-14"));
  for (const std::string_view text : {"abc", "xab", "ab_", "1ab", "가ab", "ab\xCC\x81"}) {
    EXPECT_THAT(found(tokens, text), IsEmpty()) << text;
  }
  EXPECT_THAT(found(tokens, "ab가 ab。"), ElementsAre("1:6-8"));
}

TEST(AddedTokens, WhiteSpaceIsTakenOnTheSidesAskedFor) {
  const std::vector<AddedToken> left = {{.content = "<", .id = 1, .lstrip = true}};
  EXPECT_THAT(found(left, "a \t < b"), ElementsAre("1:1-5"));
  const std::vector<AddedToken> right = {{.content = "<", .id = 1, .rstrip = true}};
  EXPECT_THAT(found(right, "a <\xE3\x80\x80\n b"), ElementsAre("1:2-8"));
}

TEST(AddedTokens, WhiteSpaceTakenByTheTokenBeforeIsNotTakenAgain) {
  const std::vector<AddedToken> both = {{.content = "<", .id = 1, .lstrip = true, .rstrip = true}};
  EXPECT_THAT(found(both, " <  < "), ElementsAre("1:0-4", "1:4-6"));
}

TEST(AddedTokens, ASecondOfTheSameContentIsRefused) {
  AddedTokenFinder finder;
  EXPECT_TRUE(finder.add({.content = "a", .id = 1}));
  EXPECT_FALSE(finder.add({.content = "a", .id = 2}));
}

}  // namespace
}  // namespace nacelle::tokenizer
