// The vocabulary finds its pieces, and the longest one first.
#include "sidecar/tokenizer/vocabulary.h"

#include <gtest/gtest.h>

#include <string>

namespace nacelle::tokenizer {
namespace {

TEST(Vocabulary, FindsWholePiecesOnly) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add("ab", 7));
  EXPECT_TRUE(vocabulary.add("abcd", 8));
  EXPECT_TRUE(vocabulary.add("한국", 9));
  EXPECT_EQ(vocabulary.find("ab"), 7U);
  EXPECT_EQ(vocabulary.find("한국"), 9U);
  for (const std::string_view absent : {"", "a", "abc", "abcde", "b", "한"}) {
    EXPECT_EQ(vocabulary.find(absent), std::nullopt) << absent;
  }
  EXPECT_EQ(vocabulary.piece_count(), 3U);
  EXPECT_EQ(vocabulary.node_count(), 7U);  // the root, a b c d, and the two syllables
}

TEST(Vocabulary, RefusesAPieceTwiceAndTheEmptyOne) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add("ab", 7));
  EXPECT_FALSE(vocabulary.add("ab", 8));
  EXPECT_FALSE(vocabulary.add("", 9));
  EXPECT_TRUE(vocabulary.add("a", 8));  // a beginning of another is a piece of its own
  EXPECT_EQ(vocabulary.find("ab"), 7U);
  EXPECT_EQ(vocabulary.find("a"), 8U);
}

TEST(Vocabulary, TheLongestPieceWinsAndAFalseTrailIsForgotten) {
  Vocabulary vocabulary;
  vocabulary.add("a", 1);
  vocabulary.add("ab", 2);
  vocabulary.add("abcdef", 3);
  Vocabulary::Match match;
  ASSERT_TRUE(vocabulary.longest(Vocabulary::kRoot, "xabcdex", 1, match));
  EXPECT_EQ(match.id, 2U);
  EXPECT_EQ(match.end, 3U);
  EXPECT_FALSE(vocabulary.longest(Vocabulary::kRoot, "xab", 0, match));
}

TEST(Vocabulary, ANodeContinuesBehindItsText) {
  Vocabulary vocabulary;
  vocabulary.add("##", 1);
  vocabulary.add("##a", 2);
  const std::uint32_t node = vocabulary.node("##");
  Vocabulary::Match match;
  ASSERT_TRUE(vocabulary.longest(node, "ab", 0, match));
  EXPECT_EQ(match.id, 2U);
  // "##" itself is no match: it would take nothing from the text.
  EXPECT_FALSE(vocabulary.longest(node, "b", 0, match));
  EXPECT_EQ(vocabulary.node("#x"), Vocabulary::kNone);
  EXPECT_EQ(vocabulary.node(""), Vocabulary::kRoot);
}

TEST(Vocabulary, GrowsWithoutLosingAPiece) {
  Vocabulary vocabulary;
  for (std::uint32_t i = 0; i < 50'000; ++i) ASSERT_TRUE(vocabulary.add(std::to_string(i), i));
  for (std::uint32_t i = 0; i < 50'000; ++i) ASSERT_EQ(vocabulary.find(std::to_string(i)), i);
}

}  // namespace
}  // namespace nacelle::tokenizer
