// The whole table, and a reader beside it.
#include "sidecar/cache/table.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "tests/sidecar/cache/small_cache.h"

namespace nacelle::cache {
namespace {

using nacelle::testing::cache_key;

constexpr Attributes kHour{.ttl_s = 3600};

TEST(Table, GivesBackWhatWasPutByteForByteHereAndInAReader) {
  SmallCache cache;
  const auto reader = cache.reader();
  EXPECT_FALSE(cache.get(1));
  EXPECT_FALSE(cache.read(*reader, 1));
  for (const std::size_t size : {16UL, 17UL, 23UL, 24UL, 200UL, 1552UL, 2000UL}) {
    ASSERT_TRUE(cache.put(size, 7, size));
    EXPECT_EQ(cache.get(size, size), 7U);
    EXPECT_EQ(cache.read(*reader, size, size), 7U);
    EXPECT_FALSE(cache.get(size, size + 1));
  }
  EXPECT_EQ(cache->stats().entries, 7U);
}

TEST(Table, AnEmptyValueIsAValue) {
  SmallCache cache;
  ASSERT_TRUE(cache->put({cache_key(1), {}, {}, kHour, cache.now.wall_ns}, cache.now));
  EXPECT_TRUE(cache->get(cache_key(1), {}, {}, cache.now));
  EXPECT_TRUE(cache.reader()->get(cache_key(1), {}, {}, cache.now));
}

TEST(Table, ASecondPutReplacesTheFirst) {
  SmallCache cache;
  const auto reader = cache.reader();
  for (std::uint64_t version = 1; version <= 1000; ++version) {
    ASSERT_TRUE(cache.put(1, version, 100 + version % 50));
    EXPECT_EQ(cache.get(1, 100 + version % 50), version);
    EXPECT_EQ(cache.read(*reader, 1, 100 + version % 50), version);
    EXPECT_FALSE(cache.get(1, 100 + (version + 1) % 50)) << "the old one is not there any more";
  }
  EXPECT_EQ(cache->stats().entries, 1U);
  EXPECT_EQ(cache->stats().replaced, 999U);
}

TEST(Table, WhatIsTooLargeIsNotKept) {
  SmallCache cache;
  EXPECT_TRUE(cache.put(1, 1, 2000));
  EXPECT_FALSE(cache.put(2, 1, 2001));
  EXPECT_EQ(cache->stats().too_large, 1U);
  EXPECT_FALSE(cache.get(2, 2001));
}

// Row C1 of the features: two keys that only their last byte tells apart.
TEST(Table, AForcedCollisionIsNeverServed) {
  SmallCache cache;
  const auto reader = cache.reader();
  shm::CacheKey twin = cache_key(1);
  twin.bytes[31] ^= std::byte{0x80};
  ASSERT_TRUE(cache.put(1));
  std::vector<std::byte> value(200);
  EXPECT_FALSE(cache->get(twin, {}, value, cache.now));
  EXPECT_FALSE(reader->get(twin, {}, value, cache.now));
  EXPECT_FALSE(cache->invalidate(twin));
  // And 20 of them, more than there are words where they can be: each is its own, or a miss.
  std::uint64_t found = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    twin.bytes[31] = static_cast<std::byte>(i);
    ASSERT_TRUE(cache.put(twin, 100 + i, 1, 200));
  }
  for (std::uint64_t i = 0; i < 20; ++i) {
    twin.bytes[31] = static_cast<std::byte>(i);
    if (!reader->get(twin, {}, value, cache.now)) continue;
    ++found;
    EXPECT_TRUE(testing::version_of(value, 100 + i)) << i;
  }
  found += cache.get(1) ? 1U : 0U;
  EXPECT_EQ(found, 16U);
  EXPECT_EQ(cache->stats().crowded_out, 5U) << "with the first one";
}

TEST(Table, NothingIsServedLaterThanItsTimeByEitherClock) {
  SmallCache cache;
  const auto reader = cache.reader();
  ASSERT_TRUE(cache.put(1, 1, 200, {.ttl_s = 60}));
  const Times put = cache.now;
  cache.pass(59 * base::kSecond);
  EXPECT_TRUE(cache.get(1));
  EXPECT_TRUE(cache.read(*reader, 1));
  struct Jump {
    const char* what;
    base::Nanos mono, wall;
  };
  constexpr std::int64_t kYear = 365 * 86'400 * base::kSecond;
  for (const Jump& jump :
       {Jump{"both", 60 * base::kSecond, 60 * base::kSecond},
        Jump{"only the monotonic clock", 60 * base::kSecond, 0},
        Jump{"only the wall clock", 0, 60 * base::kSecond}, Jump{"ten years ahead", 0, 10 * kYear},
        Jump{"ten years back", 0, -10 * kYear},
        Jump{"an hour back", 30 * base::kSecond, -3600 * base::kSecond}}) {
    cache.now = {put.mono + jump.mono, put.wall_ns + jump.wall};
    EXPECT_FALSE(cache.get(1)) << jump.what;
    EXPECT_FALSE(cache.read(*reader, 1)) << jump.what;
  }
}

TEST(Table, WhatWasMadeEarlierLivesForTheRestOfItsTime) {
  SmallCache cache;
  const auto put = [&](std::uint64_t number, std::int64_t made) {
    std::vector<std::byte> value(200);
    testing::fill_value(value, number, 1);
    return cache->put({cache_key(number), {}, value, {.ttl_s = 60}, made}, cache.now);
  };
  const std::int64_t now = cache.now.wall_ns;
  EXPECT_TRUE(put(1, now - 50 * base::kSecond));
  EXPECT_FALSE(put(2, now - 60 * base::kSecond));
  EXPECT_FALSE(put(3, now + 2 * base::kSecond)) << "from the future";
  EXPECT_TRUE(put(4, now + base::kSecond / 2)) << "clocks are coarse";
  EXPECT_FALSE(put(5, std::numeric_limits<std::int64_t>::max()));
  EXPECT_FALSE(put(6, std::numeric_limits<std::int64_t>::min()));
  EXPECT_EQ(cache->stats().stale, 4U);
  cache.now.mono += 9 * base::kSecond;
  EXPECT_TRUE(cache.get(1));
  cache.now.mono += base::kSecond;
  EXPECT_FALSE(cache.get(1)) << "10 s were left of its 60";
  EXPECT_TRUE(cache.get(4));
  // Never to be served is not kept; as long as can be said is.
  EXPECT_FALSE(cache.put(7, 1, 200, {.ttl_s = 0}));
  EXPECT_TRUE(cache.put(8, 1, 200, {.ttl_s = UINT32_MAX}));
  cache.pass(100LL * 365 * 86'400 * base::kSecond);
  EXPECT_TRUE(cache.get(8));
}

TEST(Table, SegmentsThatHaveExpiredAreFreed) {
  SmallCache cache;
  for (std::uint64_t i = 0; i < 100; ++i) {
    cache.put(i, 1, 200, {.ttl_s = i % 2 == 0 ? 30U : 86'400U});
  }
  const TableStats before = cache->stats();
  cache.pass(31 * base::kSecond);
  cache->maintain(cache.now);
  const TableStats after = cache->stats();
  EXPECT_EQ(after.entries, 50U);
  EXPECT_EQ(after.expired, 50U);
  EXPECT_GT(after.segments_free, before.segments_free + 2) << "each class had its own segments";
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(cache.get(i).has_value(), i % 2 == 1) << i;
}

TEST(Table, TheMemoryIsAllocatedAndNeverMore) {
  SmallCache cache;
  const TableStats stats = cache->stats();
  struct stat file {};
  ASSERT_EQ(::fstat(cache->fd(), &file), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(file.st_size), stats.region_bytes);
  EXPECT_EQ(static_cast<std::uint64_t>(file.st_blocks) * 512, stats.region_bytes)
      << "every page is charged from the start";
  EXPECT_LE(stats.region_bytes + stats.book_bytes + stats.touch_bytes, kSmall.memory_bytes);
  const base::Fd page = cache->add_reader().value();
  ASSERT_EQ(::fstat(page.get(), &file), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(file.st_blocks) * 512 * kSmall.readers_max,
            stats.touch_bytes);
  for (std::uint64_t i = 0; i < 20'000; ++i) cache.put(i, 1, 16 + i % 1985);
  ASSERT_EQ(::fstat(cache->fd(), &file), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(file.st_blocks) * 512, stats.region_bytes);
  EXPECT_EQ(cache->stats().segments, stats.segments);
}

TEST(Table, NobodyElseCanWriteTheRegion) {
  SmallCache cache;
  const auto size = static_cast<std::size_t>(cache->stats().region_bytes);
  EXPECT_EQ(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, cache->fd(), 0), MAP_FAILED);
  EXPECT_LT(::pwrite(cache->fd(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(cache->fd(), 0), 0);
}

TEST(Table, WhatIsHitStaysWhatIsNotGoes) {
  SmallCache cache;
  // A fifth of what fits, hit all the while, and 50 times as much as fits that nobody asks for.
  const std::uint64_t fits = cache->stats().segments * 4096 / shm::entry_size(200);
  const std::uint64_t hot = fits / 5;
  for (std::uint64_t i = 0; i < hot; ++i) cache.put(i);
  std::uint64_t misses = 0;
  for (std::uint64_t i = 0; i < 50 * fits; ++i) {
    if (!cache.get(i % hot)) {
      ++misses;
      cache.put(i % hot);
    }
    cache.put(1'000'000 + i);
  }
  EXPECT_LT(misses, hot) << "of " << 50 * fits;
  EXPECT_GT(cache->stats().promoted, 0U);
}

TEST(Table, OfWhatWasHitOnceTheOftenHitStays) {
  SmallCache cache;
  const std::uint64_t fits = cache->stats().segments * 4096 / shm::entry_size(200);
  const std::uint64_t hot = fits / 5;
  std::uint64_t misses = 0;
  for (std::uint64_t i = 0; i < 20 * fits; ++i) {
    for (const std::uint64_t number : {i % hot, 7 * i % hot}) {
      if (cache.get(number)) continue;
      ++misses;
      cache.put(number);
    }
    cache.put(1'000'000 + i);
    EXPECT_TRUE(cache.get(1'000'000 + i));  // so it goes to main, too
  }
  EXPECT_LT(misses, 2 * hot) << "of " << 40 * fits;
  EXPECT_GT(cache->stats().carried, hot);
}

TEST(Table, WhatComesAgainSoonGoesToMainAtOnce) {
  SmallCache cache;
  cache.put(1);
  std::uint64_t next = 1'000'000;
  for (; cache->stats().evicted == 0 || cache.get(1); ++next) cache.put(next);
  EXPECT_EQ(cache->stats().recalled, 0U);
  cache.put(1);
  EXPECT_EQ(cache->stats().recalled, 1U);
  EXPECT_EQ(cache->stats().segments_main, 1U);
}

TEST(Table, PutsOfOneKeyOverAndOverLoseNothingElse) {
  SmallCache cache;
  cache.put(1);
  ASSERT_TRUE(cache.get(1));
  for (std::uint64_t i = 0; i < 5000; ++i) {
    cache.put(2, i);
    ASSERT_TRUE(cache.get(1)) << i;
  }
}

TEST(Table, TakesBackAKeyAServiceOrAll) {
  SmallCache cache;
  const auto reader = cache.reader();
  for (std::uint64_t i = 0; i < 90; ++i) {
    cache.put(i, 1, 200, {.ttl_s = 3600, .service = static_cast<std::uint32_t>(i % 3)});
  }
  EXPECT_TRUE(cache->invalidate(cache_key(4)));
  EXPECT_FALSE(cache->invalidate(cache_key(4)));
  EXPECT_FALSE(cache.read(*reader, 4));
  EXPECT_EQ(reader->generation(), 1U);
  EXPECT_EQ(cache->invalidate_service(1), 29U);
  EXPECT_EQ(reader->generation(), 2U);
  for (std::uint64_t i = 0; i < 90; ++i) {
    EXPECT_EQ(cache.get(i).has_value(), i % 3 != 1) << i;
    EXPECT_EQ(cache.read(*reader, i).has_value(), i % 3 != 1) << i;
  }
  EXPECT_EQ(cache->invalidate_service(1), 0U);
  EXPECT_EQ(cache->invalidate_all(), 60U);
  EXPECT_EQ(cache->generation(), 4U);
  EXPECT_EQ(cache->stats().entries, 0U);
  EXPECT_EQ(cache->stats().segments_free, cache->stats().segments);
  EXPECT_EQ(cache->stats().invalidated, 90U);
  EXPECT_TRUE(cache.put(4));
  EXPECT_TRUE(cache.read(*reader, 4));
}

TEST(Table, AVisitorSeesEveryEntryOnceWithItsAttributes) {
  SmallCache cache;
  for (std::uint64_t i = 0; i < 100; ++i) {
    cache.put(i, 5, 100 + i,
              {.ttl_s = 60, .service = 3, .source = Source::kWarm, .compute_ns = 1000 + i});
  }
  cache.get(7, 107);
  std::map<std::uint64_t, int> seen;
  std::uint32_t slot = 0;
  while (slot < cache->slots()) {
    slot = cache->visit(slot, 100, [&](const Table::Seen& found) {
      std::vector<std::byte> value(found.entry.head.begin(), found.entry.head.end());
      value.insert(value.end(), found.entry.body.begin(), found.entry.body.end());
      std::uint64_t number = 0;
      std::memcpy(&number, value.data(), 8);
      EXPECT_EQ(testing::version_of(value, number), 5U);
      EXPECT_EQ(found.entry.key, cache_key(number));
      EXPECT_EQ(found.entry.head.size(), 16U);
      EXPECT_EQ(value.size(), 100 + number);
      EXPECT_EQ(found.entry.attributes.ttl_s, 60U);
      EXPECT_EQ(found.entry.attributes.service, 3U);
      EXPECT_EQ(found.entry.attributes.source, Source::kWarm);
      EXPECT_EQ(found.entry.attributes.compute_ns, 1000 + number);
      EXPECT_EQ(found.entry.created_wall_ns, cache.now.wall_ns);
      EXPECT_EQ(found.expires_mono, cache.now.mono + 60 * base::kSecond);
      EXPECT_EQ(found.popularity, number == 7 ? 1 : 0);
      ++seen[number];
    });
  }
  EXPECT_EQ(seen.size(), 100U);
  for (const auto& [number, times] : seen) EXPECT_EQ(times, 1) << number;
  EXPECT_EQ(cache->visit(slot, 100, [](const Table::Seen&) { FAIL(); }), cache->slots());
}

TEST(Table, WhatAReaderHitsIsPopular) {
  SmallCache cache;
  const auto reader = cache.reader(cache->add_reader().value());
  const std::uint64_t fits = cache->stats().segments * 4096 / shm::entry_size(200);
  cache.put(1, 1, 200, {.ttl_s = 3600, .compute_ns = 50});
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < 10 * fits; ++i) {
    hits += cache.read(*reader, 1) ? 1U : 0U;
    cache.put(1000 + i);
    EXPECT_TRUE(cache.get(1000 + i));  // hit once: main has many of those
  }
  EXPECT_EQ(hits, 10 * fits) << "nobody told but the touch page";
  EXPECT_GT(cache->stats().carried, 5U);
  EXPECT_FALSE(cache.read(*reader, 5));
  cache->maintain(cache.now);
  const TableStats stats = cache->stats();
  EXPECT_EQ(stats.readers_total.hits[0], hits);
  EXPECT_EQ(stats.readers_total.misses, 1U);
  EXPECT_EQ(stats.readers_total.saved_ns, 50 * hits);
  EXPECT_EQ(stats.readers_total.touches + stats.readers_total.touches_lost, hits);
}

}  // namespace
}  // namespace nacelle::cache
