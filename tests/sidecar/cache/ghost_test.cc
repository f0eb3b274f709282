// The filter of keys that were dropped: what it recalls, for how long, and how often it is wrong.
#include "sidecar/cache/ghost.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/cache_values.h"

namespace nacelle::cache {
namespace {

using nacelle::testing::cache_key;

TEST(Ghost, RecallsWhatWasDroppedAndForgetsItThen) {
  std::vector<std::uint32_t> places(1024);
  Ghost ghost(places);
  EXPECT_FALSE(ghost.recall(cache_key(1), 1000));
  ghost.remember(cache_key(1));
  EXPECT_TRUE(ghost.recall(cache_key(1), 1000));
  EXPECT_FALSE(ghost.recall(cache_key(1), 1000));
}

TEST(Ghost, AWindowIsHowManyWereDroppedSince) {
  constexpr std::uint64_t kWindow = 2000;
  std::vector<std::uint32_t> places(std::size_t{1} << 14);  // times are told to 4 keys
  Ghost ghost(places);
  for (std::uint64_t i = 0; i < 10'000; ++i) ghost.remember(cache_key(i));
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const bool recalled = ghost.recall(cache_key(i), kWindow);
    (i >= 10'000 - kWindow ? inside : outside) += recalled ? 1U : 0U;
  }
  EXPECT_GE(inside, 1990U);  // a few were pushed out of full buckets
  EXPECT_LE(outside, 10U);
}

// However long it runs: times go round, places are reused.
TEST(Ghost, OldTimesAreNotTakenForNewOnes) {
  std::vector<std::uint32_t> places(64);
  Ghost ghost(places);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < 300'000; ++i) {
    ghost.remember(cache_key(i));
    if (i >= 1000) wrong += ghost.recall(cache_key(i - 1000), 100) ? 1U : 0U;
  }
  EXPECT_LT(wrong, 300U);
  EXPECT_TRUE(ghost.recall(cache_key(299'999), 100));
}

}  // namespace
}  // namespace nacelle::cache
