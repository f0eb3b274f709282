// The layout, pinned: a change of any number here is a new version of region C, in cache_layout.h
// and in docs/formats/cache.md.
#include "shm/cache_layout.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/support/cache_values.h"

namespace nacelle::shm {
namespace {

using nacelle::testing::cache_key;

TEST(CacheLayout, AWordHoldsATagAndAPlace) {
  const std::uint64_t word = index_word(0x2AAA'AAAA, 8 * 12'345);
  EXPECT_EQ(tag_of(word), 0x2AAA'AAAAU);
  EXPECT_EQ(offset_of(word), 8U * 12'345);
  const std::uint64_t last = kCacheRegionMax - kCacheGrain;
  EXPECT_EQ(offset_of(index_word((1U << 30) - 1, last)), last);
  EXPECT_EQ(tag_of(index_word((1U << 30) - 1, last)), (1U << 30) - 1);
}

// The example of docs/formats/cache.md.
TEST(CacheLayout, TheDocumentsExampleIsRight) {
  CacheKey key;
  for (std::size_t i = 0; i < key.bytes.size(); ++i) key.bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(key_word(key, 0), 0x0706'0504'0302'0100U);
  const CacheSpots spots = spots_of(key, 1000);
  EXPECT_EQ(spots.buckets[0], 27U);
  EXPECT_EQ(spots.buckets[1], 58U);
  EXPECT_EQ(spots.tag, 0x1312'1110U);
  EXPECT_EQ(index_word(spots.tag, 0x12'3458), 0x4C48'4440'0002'468BU);
  EXPECT_EQ(entry_size(1552), 1624U);
}

TEST(CacheLayout, AKeysBucketsAreBelowTheCountAndSpread) {
  constexpr std::uint64_t kBuckets = 1000;
  std::vector<int> hits(kBuckets);
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    for (const std::uint64_t bucket : spots_of(cache_key(i), kBuckets).buckets) {
      ASSERT_LT(bucket, kBuckets);
      ++hits[bucket];
    }
  }
  // 200 each, with a deviation of 14.
  for (const int count : hits) {
    EXPECT_GT(count, 120);
    EXPECT_LT(count, 280);
  }
}

TEST(CacheLayout, AnEntryIsFreshBetweenItsTimesByBothClocks) {
  constexpr std::int64_t kMade = 1'700'000'000 * base::kSecond;
  CacheEntry entry{};
  entry.created_wall_ns = kMade;
  entry.ttl_s = 60;
  entry.expires_mono_ns = 1000 * base::kSecond;
  constexpr base::Nanos kEarly = 950 * base::kSecond;
  const auto fresh = [&](base::Nanos mono, std::int64_t wall) {
    return is_fresh(entry, {.mono = mono, .wall_ns = wall});
  };
  EXPECT_TRUE(fresh(kEarly, kMade));
  EXPECT_TRUE(fresh(1000 * base::kSecond - 1, kMade + 60 * base::kSecond - 1));
  EXPECT_FALSE(fresh(1000 * base::kSecond, kMade)) << "by the monotonic clock";
  EXPECT_FALSE(fresh(kEarly, kMade + 60 * base::kSecond)) << "by the wall clock";
  EXPECT_TRUE(fresh(kEarly, kMade - kFutureSlack)) << "a coarse clock ticks late";
  EXPECT_FALSE(fresh(kEarly, kMade - kFutureSlack - 1)) << "the wall clock went back";
  // Wherever the wall clock jumps to.
  EXPECT_FALSE(fresh(kEarly, 0));
  EXPECT_FALSE(fresh(kEarly, -kMade));
  EXPECT_FALSE(fresh(kEarly, std::numeric_limits<std::int64_t>::min()));
  EXPECT_FALSE(fresh(kEarly, std::numeric_limits<std::int64_t>::max()));
  entry.ttl_s = std::numeric_limits<std::uint32_t>::max();
  EXPECT_TRUE(fresh(kEarly, kMade + 4'000'000'000 * base::kSecond));
  EXPECT_FALSE(fresh(kEarly, kMade + 4'294'967'295 * base::kSecond));
  entry.created_wall_ns = std::numeric_limits<std::int64_t>::min();
  EXPECT_FALSE(fresh(kEarly, std::numeric_limits<std::int64_t>::max()));
}

TEST(CacheLayout, ATouchPageIsWholePages) {
  EXPECT_EQ(touch_page_size(4, 256), 12'288U);
  EXPECT_EQ(touch_page_size(1, 504), 4096U);
  EXPECT_EQ(touch_page_size(1, 505), 8192U);
}

}  // namespace
}  // namespace nacelle::shm
