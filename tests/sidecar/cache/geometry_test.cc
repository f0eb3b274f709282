// The memory of a cache, to the byte.
#include "sidecar/cache/geometry.h"

#include <gtest/gtest.h>

#include "shm/cache_layout.h"

namespace nacelle::cache {
namespace {

TEST(Geometry, AllPartsTogetherAreWhatIsConfiguredAndNotAByteMore) {
  for (std::uint64_t memory = 1 << 20; memory <= 1ULL << 33; memory = memory * 3 / 2 + 12'345) {
    const TableOptions options{.memory_bytes = memory, .entry_bytes_max = 8000, .readers_max = 8};
    const auto plan = plan_geometry(options);
    ASSERT_TRUE(plan) << plan.error().message;
    const std::uint64_t used = plan->memory_bytes(options.readers_max);
    EXPECT_LE(used, memory);
    // Less than a segment with its share of everything, and the rounding to pages, is left over.
    EXPECT_GT(used + 2 * (1ULL << plan->segment_shift) + 4 * shm::kCachePage, memory) << memory;
    // And nearly all of it is for entries.
    const std::uint64_t data = std::uint64_t{plan->segments} << plan->segment_shift;
    if (memory > 4 << 20) {
      EXPECT_GT(data, memory / 100 * 93) << memory;
    }
  }
}

TEST(Geometry, ThePartsDoNotOverlap) {
  const TableOptions options{.memory_bytes = 10'000'000, .readers_max = 5};
  const Geometry g = plan_geometry(options).value();
  EXPECT_EQ(g.index_offset, sizeof(shm::CacheHeader));
  EXPECT_EQ(g.epochs_offset, g.index_offset + g.buckets * 64);
  EXPECT_GE(g.data_offset, g.epochs_offset + 8 * g.segments);
  EXPECT_GE(g.region_bytes, g.data_offset + (std::uint64_t{g.segments} << g.segment_shift));
  EXPECT_GE(g.ghost_offset, g.slots());
  EXPECT_GE(g.segment_books_offset, g.ghost_offset + 4 * g.slots());
  EXPECT_GE(g.touch_lines_offset, g.segment_books_offset + 24 * g.segments);
  EXPECT_GE(g.book_bytes, g.touch_lines_offset + 5 * g.touch_lanes * 48);
  EXPECT_EQ(g.touch_lanes * g.touch_ring, options.touches);
}

TEST(Geometry, TheSegmentSizeIsChosenSoThatThereAreManyAndTheLargestEntryFits) {
  const auto shift = [](std::uint64_t memory, std::uint32_t entry) {
    return plan_geometry({.memory_bytes = memory, .entry_bytes_max = entry}).value().segment_shift;
  };
  EXPECT_EQ(shift(256 << 20, 65'536), 20U);
  EXPECT_EQ(shift(1ULL << 32, 65'536), 20U);
  EXPECT_EQ(shift(64 << 20, 65'536), 18U);
  EXPECT_EQ(shift(8 << 20, 1000), 15U);
  EXPECT_EQ(shift(64 << 20, 1 << 20), 21U);
}

TEST(Geometry, WhatCannotBeIsRefusedWithWhatWouldDo) {
  const auto refused = [](const TableOptions& options) {
    const auto plan = plan_geometry(options);
    if (plan) return std::string("not refused");
    EXPECT_EQ(plan.error().code, base::Code::kInvalid);
    return plan.error().message;
  };
  const std::string small = refused({.memory_bytes = 100'000, .readers_max = 1});
  EXPECT_NE(small.find("are needed for 16 segments"), std::string::npos) << small;
  // The number that it names is enough.
  const std::size_t at = small.find(", and ") + 6;
  const std::uint64_t enough = std::stoull(small.substr(at));
  EXPECT_TRUE(plan_geometry({.memory_bytes = enough, .readers_max = 1}));
  EXPECT_FALSE(plan_geometry({.memory_bytes = enough - 1, .readers_max = 1}));

  EXPECT_NE(refused({.segment_bytes = 3000}).find("segment_bytes"), std::string::npos);
  EXPECT_NE(refused({.segment_bytes = 512}).find("segment_bytes"), std::string::npos);
  EXPECT_NE(refused({.segment_bytes = 65'536}).find("entry_bytes_max"), std::string::npos);
  EXPECT_NE(refused({.entry_bytes_max = 1U << 27}).find("entry_bytes_max"), std::string::npos);
  EXPECT_NE(refused({.entry_bytes_max = UINT32_MAX}).find("entry_bytes_max"), std::string::npos);
  EXPECT_NE(refused({.entry_bytes_typical = 0}).find("typical"), std::string::npos);
  EXPECT_NE(refused({.readers_max = 5000}).find("readers_max"), std::string::npos);
  EXPECT_NE(refused({.touches = 100}).find("touches"), std::string::npos);
  EXPECT_NE(refused({.touches = 32}).find("touches"), std::string::npos);
  EXPECT_NE(refused({.memory_bytes = 1ULL << 40}).find("memory_bytes"), std::string::npos);
  EXPECT_NE(refused({.memory_bytes = 0}).find("memory_bytes"), std::string::npos);
}

}  // namespace
}  // namespace nacelle::cache
