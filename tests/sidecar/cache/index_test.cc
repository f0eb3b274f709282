// The index by itself, over a region that holds keys and nothing else.
#include "sidecar/cache/index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/support/cache_values.h"

namespace nacelle::cache {
namespace {

using nacelle::testing::cache_key;

constexpr std::size_t kBuckets = 64;
constexpr std::size_t kEntries = 1000;

// An index over a region that holds nothing but the fields of entries, number i at place(i).
struct Books {
  Books() : region((kEntries + 1) * sizeof(shm::CacheEntry)) {
    for (std::uint64_t i = 0; i < kEntries; ++i) write(i, cache_key(i));
  }
  void write(std::uint64_t number, const shm::CacheKey& key) {
    std::memcpy(region.data() + place(number), &key, sizeof key);
  }
  static std::uint64_t place(std::uint64_t number) {
    return (number + 1) * sizeof(shm::CacheEntry);
  }
  std::uint32_t add(std::uint64_t number, const shm::CacheKey& key) {
    const shm::CacheSpots spots = index.spots(key);
    const std::uint32_t slot = index.choose(spots);
    index.set_popularity(slot, 0);
    index.publish(slot, spots, place(number));
    return slot;
  }
  [[nodiscard]] std::optional<std::uint32_t> find(const shm::CacheKey& key) const {
    return index.find(key, index.spots(key));
  }
  std::vector<std::byte> region;
  std::unique_ptr<shm::CacheBucket[]> buckets = std::make_unique<shm::CacheBucket[]>(kBuckets);
  std::vector<std::uint8_t> popularity = std::vector<std::uint8_t>(kBuckets * 8);
  Index index{region, {buckets.get(), kBuckets}, popularity};
};

TEST(Index, FindsWhatWasPublishedUntilItIsCleared) {
  Books books;
  EXPECT_FALSE(books.find(cache_key(5)));
  const std::uint32_t slot = books.add(5, cache_key(5));
  EXPECT_EQ(books.find(cache_key(5)), slot);
  EXPECT_EQ(shm::offset_of(books.index.word(slot)), Books::place(5));
  EXPECT_EQ(books.index.find_at(books.index.spots(cache_key(5)), Books::place(5)), slot);
  EXPECT_FALSE(books.index.find_at(books.index.spots(cache_key(5)), Books::place(6)));
  EXPECT_EQ(books.index.used(), 1U);
  books.index.clear(slot);
  books.index.clear(slot);
  EXPECT_FALSE(books.find(cache_key(5)));
  EXPECT_EQ(books.index.used(), 0U);
}

TEST(Index, KeysThatShareBucketsAndTagAreTold) {
  Books books;
  std::vector<shm::CacheKey> twins;
  for (std::uint64_t i = 0; i < 8; ++i) {
    shm::CacheKey key = cache_key(1);
    key.bytes[31] = static_cast<std::byte>(i);
    books.write(i, key);
    twins.push_back(key);
    books.add(i, key);
  }
  EXPECT_EQ(books.index.used(), 8U);
  for (std::uint64_t i = 0; i < 8; ++i) {
    const auto slot = books.find(twins[i]);
    ASSERT_TRUE(slot);
    EXPECT_EQ(shm::offset_of(books.index.word(*slot)), Books::place(i));
  }
}

TEST(Index, IsThreeQuartersFullBeforeAKeyIsCrowdedOut) {
  Books books;
  std::size_t crowded = 0;
  for (std::uint64_t i = 0; i < kBuckets * 8 * 3 / 4; ++i) {
    const std::uint64_t before = books.index.used();
    books.add(i, cache_key(i));
    crowded += books.index.used() == before ? 1U : 0U;
  }
  EXPECT_EQ(crowded, 0U);
}

TEST(Index, WhereAllIsFullTheLeastPopularGoes) {
  Books books;
  for (std::uint64_t i = 0; i < kEntries; ++i) books.add(i, cache_key(i));
  EXPECT_EQ(books.index.used(), books.index.slots());
  const shm::CacheSpots spots = books.index.spots(cache_key(0));
  for (std::uint32_t slot = 0; slot < books.index.slots(); ++slot) {
    books.index.set_popularity(slot, 9);
  }
  const std::uint32_t least = shm::slot_of(spots.buckets[1], 5);
  books.index.set_popularity(least, 2);
  EXPECT_EQ(books.index.choose(spots), least);
}

TEST(Index, PopularityCountsUpToItsLimit) {
  Books books;
  const std::uint32_t slot = books.add(1, cache_key(1));
  for (int i = 0; i < 20; ++i) books.index.touch(slot, 15);
  EXPECT_EQ(books.index.popularity(slot), 15);
  books.index.clear(slot);
  EXPECT_EQ(books.index.popularity(slot), 0);
}

}  // namespace
}  // namespace nacelle::cache
