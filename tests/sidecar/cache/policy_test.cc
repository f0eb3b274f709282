// Which segment goes, and what of it stays.
#include "sidecar/cache/policy.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace nacelle::cache {
namespace {

constexpr std::uint32_t kSegments = 20;
constexpr std::uint32_t kShift = 10;

struct Memory {
  std::vector<std::byte> data = std::vector<std::byte>(kSegments << kShift);
  std::unique_ptr<std::atomic<std::uint64_t>[]> epochs =
      std::make_unique<std::atomic<std::uint64_t>[]>(kSegments);
  std::vector<SegmentBook> books = std::vector<SegmentBook>(kSegments);
  Segments segments{data, 4096, {epochs.get(), kSegments}, books, kShift};
};

TEST(Policy, ProbationGoesFirstWhileItHasMoreThanATwentieth) {
  Memory memory;
  Segments& segments = memory.segments;
  EXPECT_EQ(choose_victim(segments), kNoSegment);
  const std::uint32_t first = segments.take(Queue::kProbation, 0);
  EXPECT_EQ(choose_victim(segments), first) << "there is nothing else";
  const std::uint32_t main = segments.take(Queue::kMain, 0);
  EXPECT_EQ(choose_victim(segments), main) << "1 of 20";
  segments.take(Queue::kProbation, 0);
  EXPECT_EQ(choose_victim(segments), first) << "2 are more";
}

TEST(Policy, OfMainAtMostThreeQuartersStayAndTheMostPopularDo) {
  BytesByPopularity bytes{};
  EXPECT_EQ(carried_from(bytes, 1000), 1U);
  bytes[0] = 1000;
  EXPECT_EQ(carried_from(bytes, 1000), 1U) << "who was not hit never stays";
  bytes = {};
  bytes[1] = 400;
  bytes[2] = 300;
  bytes[5] = 50;
  EXPECT_EQ(carried_from(bytes, 1000), 1U);
  bytes[5] = 51;
  EXPECT_EQ(carried_from(bytes, 1000), 2U);
  bytes = {};
  bytes[kPopularityMax] = 1000;
  EXPECT_EQ(carried_from(bytes, 1000), kPopularityMax + 1U) << "not even these fit";
}

}  // namespace
}  // namespace nacelle::cache
