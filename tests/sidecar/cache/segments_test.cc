// The books of segments: epochs, queues, room, expiry.
#include "sidecar/cache/segments.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

namespace nacelle::cache {
namespace {

constexpr std::uint32_t kSegments = 4;
constexpr std::uint32_t kShift = 10;
constexpr std::uint64_t kOffset = 4096;

struct Memory {
  std::vector<std::byte> data = std::vector<std::byte>(kSegments << kShift);
  std::unique_ptr<std::atomic<std::uint64_t>[]> epochs =
      std::make_unique<std::atomic<std::uint64_t>[]>(kSegments);
  std::vector<SegmentBook> books = std::vector<SegmentBook>(kSegments);
  Segments segments{data, kOffset, {epochs.get(), kSegments}, books, kShift};
};

TEST(Segments, TheEpochIsOddWhileASegmentIsFreeAndOnlyGrows) {
  Memory memory;
  EXPECT_EQ(memory.epochs[0].load(), 1U);
  std::uint64_t before = 1;
  for (int round = 0; round < 3; ++round) {
    const std::uint32_t segment = memory.segments.take(Queue::kMain, 3);
    ASSERT_EQ(segment, 0U);
    EXPECT_EQ(memory.epochs[0].load(), before + 1);
    memory.segments.give_back(segment);
    EXPECT_EQ(memory.epochs[0].load(), before + 2);
    before += 2;
  }
}

TEST(Segments, EntriesAreLaidBehindEachOtherUntilTheSegmentIsFull) {
  Memory memory;
  Segments& segments = memory.segments;
  EXPECT_FALSE(segments.room(Queue::kMain, 2, 8));
  segments.take(Queue::kMain, 2);
  EXPECT_EQ(segments.room(Queue::kMain, 2, 600), kOffset);
  EXPECT_EQ(segments.room(Queue::kMain, 2, 600), kOffset) << "asking takes nothing";
  segments.append(Queue::kMain, 2, 600, 5);
  EXPECT_FALSE(segments.room(Queue::kMain, 2, 425));
  EXPECT_EQ(segments.room(Queue::kMain, 2, 424), kOffset + 600);
  EXPECT_FALSE(segments.room(Queue::kMain, 3, 8)) << "another class has its own";
  EXPECT_FALSE(segments.room(Queue::kProbation, 2, 8)) << "another queue, too";
  EXPECT_EQ(segments.at(kOffset + 600), memory.data.data() + 600);
  EXPECT_EQ(segments.segment_at(kOffset + 1023), 0U);
  EXPECT_EQ(segments.segment_at(kOffset + 1024), 1U);
  segments.close(0);
  EXPECT_FALSE(segments.room(Queue::kMain, 2, 8));
}

TEST(Segments, QueuesKeepTheirOrderWhoeverLeaves) {
  Memory memory;
  Segments& segments = memory.segments;
  for (std::uint32_t i = 0; i < kSegments; ++i) EXPECT_EQ(segments.take(Queue::kMain, 0), i);
  EXPECT_EQ(segments.free_count(), 0U);
  segments.give_back(1);  // from the middle
  EXPECT_EQ(segments.oldest(Queue::kMain), 0U);
  segments.give_back(0);  // the first
  EXPECT_EQ(segments.oldest(Queue::kMain), 2U);
  segments.give_back(3);  // the last
  EXPECT_EQ(segments.count(Queue::kMain), 1U);
  segments.take(Queue::kMain, 0);
  EXPECT_EQ(segments.oldest(Queue::kMain), 2U);
  segments.give_back(2);
  EXPECT_EQ(segments.oldest(Queue::kMain), 3U);
  segments.give_back(3);
  EXPECT_EQ(segments.oldest(Queue::kMain), kNoSegment);
  EXPECT_EQ(segments.free_count(), kSegments);
}

TEST(Segments, ExpireWithTheLastOfTheirEntries) {
  Memory memory;
  Segments& segments = memory.segments;
  segments.take(Queue::kMain, 0);
  EXPECT_FALSE(segments.expired(0, 100)) << "there is nothing in it yet";
  segments.append(Queue::kMain, 0, 8, 50);
  segments.append(Queue::kMain, 0, 8, 20);
  EXPECT_FALSE(segments.expired(0, 49));
  EXPECT_TRUE(segments.expired(0, 50));
  EXPECT_FALSE(segments.expired(1, 50)) << "free";
}

TEST(Segments, TimesToLiveAreSortedByFours) {
  const auto of = [](std::int64_t seconds) { return ttl_class(seconds * base::kSecond); };
  EXPECT_EQ(of(0), 0U);
  EXPECT_EQ(of(15), 0U);
  EXPECT_EQ(of(16), 1U);
  EXPECT_EQ(of(63), 1U);
  EXPECT_EQ(of(64), 2U);
  EXPECT_EQ(of(1024), 4U);
  EXPECT_EQ(of(3600), 4U);
  EXPECT_EQ(of(4095), 4U);
  EXPECT_EQ(of(4096), 5U);
  EXPECT_EQ(of(65'536), 7U);
  EXPECT_EQ(of(86'400), 7U);
  EXPECT_EQ(of(4'294'967'295), kTtlClasses - 1);
  EXPECT_EQ(ttl_class(std::numeric_limits<base::Nanos>::max()), kTtlClasses - 1);
  EXPECT_EQ(ttl_class(-5), 0U);
}

}  // namespace
}  // namespace nacelle::cache
