// Arena rooms never overlap, and everything given back can be had again.
#include "shm/arena.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace nacelle::shm {
namespace {

TEST(Arena, RoundsUpToWholeUnits) {
  Arena arena(4 * Arena::kUnit, 8);
  EXPECT_EQ(arena.allocate(1), 0U);
  EXPECT_EQ(arena.allocate(Arena::kUnit + 1), Arena::kUnit);
  EXPECT_EQ(arena.free_bytes(), Arena::kUnit);
  EXPECT_EQ(arena.allocate(Arena::kUnit + 1), std::nullopt) << "full: nothing, and no harm";
  EXPECT_EQ(arena.allocate(Arena::kUnit), 3 * Arena::kUnit);
}

TEST(Arena, NeighboursMergeWhenGivenBack) {
  Arena arena(3 * Arena::kUnit, 8);
  for (std::uint32_t i = 0; i < 3; ++i) ASSERT_EQ(arena.allocate(1), i * Arena::kUnit);
  arena.release(0, 1);
  arena.release(2 * Arena::kUnit, 1);
  EXPECT_EQ(arena.allocate(std::uint64_t{2} * Arena::kUnit), std::nullopt)
      << "the middle is still lent";
  arena.release(Arena::kUnit, 1);
  EXPECT_EQ(arena.allocate(std::uint64_t{3} * Arena::kUnit), 0U);
}

TEST(Arena, ASizeThatWrapsIsRefused) {
  Arena arena(1U << 20, 8);
  EXPECT_EQ(arena.allocate(UINT32_MAX), std::nullopt);
  EXPECT_EQ(arena.allocate(1ULL << 40), std::nullopt);
}

TEST(ArenaDeathTest, GivingBackTwiceIsABug) {
  Arena arena(4 * Arena::kUnit, 8);
  ASSERT_EQ(arena.allocate(1), 0U);
  arena.release(0, 1);
  EXPECT_DEATH(arena.release(0, 1), "CHECK failed");
}

// A model of the truth beside it: a map of what is lent.
TEST(Arena, RandomUseNeverOverlapsAndLosesNothing) {
  constexpr std::uint32_t kSize = 1U << 16;
  constexpr unsigned kSeed = 20261120;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  Arena arena(kSize, 64);
  std::map<std::uint32_t, std::uint32_t> lent;
  for (int step = 0; step < 100'000; ++step) {
    if (lent.size() < 64 && random() % 2 == 0) {
      const auto size = static_cast<std::uint32_t>(1 + random() % 4000);
      const auto offset = arena.allocate(size);
      if (!offset) continue;
      const auto after = lent.lower_bound(*offset);
      if (after != lent.end()) {
        ASSERT_LE(*offset + Arena::rounded(size), after->first);
      }
      if (after != lent.begin()) {
        const auto before = std::prev(after);
        ASSERT_LE(before->first + Arena::rounded(before->second), *offset);
      }
      lent.emplace(*offset, size);
    } else if (!lent.empty()) {
      auto victim = std::next(lent.begin(), static_cast<std::ptrdiff_t>(random() % lent.size()));
      arena.release(victim->first, victim->second);
      lent.erase(victim);
    }
  }
  for (const auto& [offset, size] : lent) arena.release(offset, size);
  EXPECT_EQ(arena.free_bytes(), kSize);
  EXPECT_EQ(arena.allocate(kSize), 0U) << "one piece again";
}

}  // namespace
}  // namespace nacelle::shm
