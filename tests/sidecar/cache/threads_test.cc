// Readers in threads against a writer, all on one mapping, so that the thread sanitizer sees what
// they do to each other. Every value that is got describes itself.
#include <gtest/gtest.h>

#include <atomic>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "tests/sidecar/cache/small_cache.h"
#include "tests/support/one_mapping.h"

namespace nacelle::cache {
namespace {

constexpr std::uint64_t kKeys = 400;  // some three times as many as there is room for
constexpr std::size_t kSizes = 3;
constexpr std::size_t kSizeOf[kSizes] = {64, 200, 1552};
constexpr int kReaders = 3;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kPuts = 4'000;
#else
constexpr int kPuts = 100'000;
#endif

struct Got {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t torn = 0;
  std::uint64_t back = 0;  // an older version after a newer one
};

// A key has one size, so that a reader knows what to ask for.
std::size_t size_of(std::uint64_t number) { return kSizeOf[number % kSizes]; }

void read_until(const std::atomic<bool>& stop, const shm::CacheReader& reader, Times now,
                std::uint64_t seed, Got& got) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> value(2000);
  std::vector<std::uint64_t> newest(kKeys);
  while (!stop.load(std::memory_order_relaxed)) {
    const std::uint64_t number = random() % kKeys % (1 + random() % kKeys);
    const std::span<std::byte> all(value.data(), size_of(number));
    if (!reader.get(testing::cache_key(number), all.first(16), all.subspan(16), now)) {
      ++got.misses;
      continue;
    }
    ++got.hits;
    const auto version = testing::version_of(all, number);
    if (!version) {
      ++got.torn;
    } else {
      got.back += *version < newest[number] ? 1U : 0U;
      newest[number] = *version;
    }
  }
}

TEST(CacheThreads, ReadersGetWholeValuesOrMisses) {
  constexpr std::uint64_t kSeed = 42;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  TableOptions options = kSmall;
  options.memory_bytes = 128 << 10;
  SmallCache cache(options);
  const auto with_touches = cache.reader(cache->add_reader().value());
  const auto without = cache.reader();
  EXPECT_EQ(testing::mappings_shared_by_two(), 1) << "the touch page";

  std::atomic<bool> stop{false};
  std::vector<Got> got(kReaders);
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) {
    const auto& reader = i == 0 ? *without : *with_touches;
    readers.emplace_back([&, i] {
      read_until(stop, reader, cache.now, kSeed + static_cast<std::uint64_t>(i),
                 got[static_cast<std::size_t>(i)]);
    });
  }
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < kPuts; ++i) {
    const std::uint64_t number = random() % kKeys;
    cache.put(number, static_cast<std::uint64_t>(i) + 1, size_of(number));
    if (i % 997 == 0) cache->invalidate(testing::cache_key(random() % kKeys));
    if (i % 5003 == 0) cache->invalidate_service(0);
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();

  Got all;
  for (const Got& one : got) {
    all.hits += one.hits;
    all.misses += one.misses;
    all.torn += one.torn;
    all.back += one.back;
  }
  std::cout << kPuts << " puts, " << all.hits << " hits, " << all.misses << " misses, "
            << cache->stats().segments_evicted << " segments evicted\n";
  EXPECT_GT(all.hits, 1000U);
  EXPECT_EQ(all.torn, 0U);
  EXPECT_EQ(all.back, 0U);
  EXPECT_GT(cache->stats().segments_evicted, 100U);
}

}  // namespace
}  // namespace nacelle::cache
