// Touch pages as a client may write them: as it should, or any bytes at all.
#include "sidecar/cache/touches.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "tests/sidecar/cache/small_cache.h"

namespace nacelle::cache {
namespace {

using nacelle::testing::cache_key;

constexpr std::uint32_t kLanes = 4;
constexpr std::uint32_t kRing = 16;
constexpr std::uint64_t kPage = shm::touch_page_size(kLanes, kRing);

// A table's touches, and the page of one client whose bytes the test writes itself.
struct Client {
  explicit Client(SmallCache& cache) : fd(cache->add_reader().value()) {
    page = shm::Mapping::map(fd.get(), kPage, shm::Access::kReadWrite).value();
  }
  shm::TouchLane& lane(std::uint32_t number) const {
    return *reinterpret_cast<shm::TouchLane*>(page.data() + number * shm::touch_lane_size(kRing));
  }
  std::atomic<std::uint64_t>& place(std::uint32_t number, std::uint64_t at) const {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(&lane(number) + 1)[at];
  }
  base::Fd fd;
  shm::Mapping page;
};

std::uint8_t popularity(SmallCache& cache, std::uint64_t number) {
  std::uint8_t found = 0;
  cache->visit(0, cache->slots(), [&](const Table::Seen& seen) {
    if (seen.entry.key == cache_key(number)) found = seen.popularity;
  });
  return found;
}

std::uint32_t slot(SmallCache& cache, std::uint64_t number) {
  for (std::uint32_t at = 0; at < cache->slots(); ++at) {
    bool here = false;
    cache->visit(at, 1,
                 [&](const Table::Seen& seen) { here = seen.entry.key == cache_key(number); });
    if (here) return at;
  }
  return UINT32_MAX;
}

std::uint64_t tag(std::uint64_t number) { return shm::spots_of(cache_key(number), 8).tag; }

TEST(Touches, WhatIsInTheRingIsCountedOnce) {
  SmallCache cache;
  const Client client(cache);
  cache.put(1);
  cache.put(2);
  client.place(0, 0).store(shm::touch_word(tag(1), slot(cache, 1)));
  client.place(0, 1).store(shm::touch_word(tag(2), slot(cache, 2)));
  client.place(0, 2).store(shm::touch_word(tag(1), slot(cache, 1)));
  client.lane(0).touches.store(3);
  client.place(3, 0).store(shm::touch_word(tag(2), slot(cache, 2)));
  client.lane(3).touches.store(1);
  cache->maintain(cache.now);
  cache->maintain(cache.now);
  EXPECT_EQ(popularity(cache, 1), 2);
  EXPECT_EQ(popularity(cache, 2), 2);
  EXPECT_EQ(cache->stats().readers_total.touches, 4U);
  EXPECT_EQ(cache->stats().readers_total.touches_lost, 0U);
}

TEST(Touches, OfWhatWasOverwrittenTheNewestAreCounted) {
  SmallCache cache;
  const Client client(cache);
  cache.put(1);
  for (std::uint32_t i = 0; i < kRing; ++i) {
    client.place(1, i).store(shm::touch_word(tag(1), slot(cache, 1)));
  }
  client.lane(1).touches.store(100);
  cache->maintain(cache.now);
  EXPECT_EQ(popularity(cache, 1), 15) << "the most that is counted";
  EXPECT_EQ(cache->stats().readers_total.touches, kRing);
  EXPECT_EQ(cache->stats().readers_total.touches_lost, 100U - kRing);
}

TEST(Touches, AnotherKeysTagSaysNothing) {
  SmallCache cache;
  const Client client(cache);
  cache.put(1);
  client.place(0, 0).store(shm::touch_word(tag(2), slot(cache, 1)));
  client.place(0, 1).store(shm::touch_word(tag(1), slot(cache, 1) ^ 1U));
  client.place(0, 2).store(shm::touch_word(tag(1), cache->slots()));
  client.place(0, 3).store(~std::uint64_t{0});
  client.lane(0).touches.store(4);
  cache->maintain(cache.now);
  EXPECT_EQ(popularity(cache, 1), 0);
}

TEST(Touches, CountsThatLeapAreNotCounted) {
  SmallCache cache;
  const Client client(cache);
  client.lane(0).hits[1].store(10);
  client.lane(2).hits[1].store(5);
  client.lane(0).misses.store(3);
  client.lane(0).saved_ns.store(1000);
  cache->maintain(cache.now);
  client.lane(0).hits[1].store(~std::uint64_t{0});
  client.lane(0).misses.store(1);  // back
  client.lane(0).saved_ns.store(1ULL << 63);
  client.lane(0).touches.store(~std::uint64_t{0});
  cache->maintain(cache.now);
  const ReaderCounts& counts = cache->stats().readers_total;
  EXPECT_EQ(counts.hits[1], 15U);
  EXPECT_EQ(counts.misses, 3U);
  EXPECT_EQ(counts.saved_ns, 1000U);
  EXPECT_EQ(counts.touches_lost, 0U);
}

TEST(Touches, AreForSoManyClientsAtATimeAndFreedWhenTheyGo) {
  SmallCache cache;
  base::Fd first = cache->add_reader().value();
  const base::Fd second = cache->add_reader().value();
  const auto third = cache->add_reader();
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, base::Code::kBusy);
  EXPECT_EQ(cache->stats().readers, 2U);
  cache->remove_reader(-1);
  cache->remove_reader(cache->fd());
  EXPECT_EQ(cache->stats().readers, 2U);
  const base::Fd duplicate(::dup(first.get()));
  first.reset();
  cache->remove_reader(duplicate.get());
  cache->remove_reader(duplicate.get());
  EXPECT_EQ(cache->stats().readers, 1U);
  EXPECT_TRUE(cache->add_reader());
}

// What a client counted before it went stays; a new one in its place begins at nothing.
TEST(Touches, TheCountsOfThoseThatAreGoneStay) {
  SmallCache cache;
  {
    const Client client(cache);
    client.lane(0).hits[0].store(7);
    cache->remove_reader(client.fd.get());
  }
  const Client next(cache);
  next.lane(0).hits[0].store(2);
  cache->maintain(cache.now);
  EXPECT_EQ(cache->stats().readers_total.hits[0], 9U);
}

TEST(Touches, AnyBytesInThePageDoNoHarm) {
  constexpr std::uint64_t kSeed = 20'261'121;
  std::mt19937_64 random(kSeed);
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  SmallCache cache;
  const Client client(cache);
  for (std::uint64_t i = 0; i < 2000; ++i) cache.put(i % 300, i);
  for (int round = 0; round < 2000; ++round) {
    auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(client.page.data());
    for (std::uint64_t i = 0; i < kPage / 8; ++i) {
      const std::uint64_t any = random();
      // All bits; or few, so that slots are there and counts move on by a little.
      words[i].store(round % 2 == 0 ? any : any >> (40 + any % 24), std::memory_order_relaxed);
    }
    cache->maintain(cache.now);
    const std::uint64_t number = random() % 300;
    cache.put(number, 5000 + static_cast<std::uint64_t>(round));
    ASSERT_EQ(cache.get(number), 5000U + static_cast<std::uint64_t>(round));
  }
  std::uint64_t entries = 0;
  cache->visit(0, cache->slots(), [&](const Table::Seen& seen) {
    EXPECT_LE(seen.popularity, 15);
    ++entries;
  });
  EXPECT_EQ(entries, cache->stats().entries);
}

}  // namespace
}  // namespace nacelle::cache
