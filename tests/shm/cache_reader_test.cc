// A reader on a region that the test writes word by word, so that it stands still in states that
// the sidecar only passes through.
#include "shm/cache_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "shm/cache_clock.h"
#include "tests/support/cache_values.h"

namespace nacelle::shm {
namespace {

using nacelle::testing::cache_key;
using nacelle::testing::fill_value;
using nacelle::testing::version_of;

constexpr std::uint32_t kSegments = 4;
constexpr std::uint32_t kShift = 12;
constexpr std::uint64_t kDataOffset = 4096;
constexpr std::uint64_t kSize = kDataOffset + (kSegments << kShift);
constexpr std::size_t kValue = 100;
constexpr CacheTimes kNow{.mono = 100 * base::kSecond, .wall_ns = 1'700'000'000 * base::kSecond};

// Four buckets, four segments of 4 KiB.
class Region {
 public:
  Region() : fd_(create_region("cache-test", kSize).value()) {
    mapping_ = Mapping::map(fd_.get(), kSize, Access::kReadWrite).value();
    CacheHeader& h = header();
    std::memcpy(h.magic, kCacheMagic, sizeof h.magic);
    h.version_major = kCacheVersionMajor;
    h.header_size = sizeof h;
    h.region_size = kSize;
    h.index_offset = sizeof h;
    h.bucket_count = 4;
    h.epochs_offset = h.index_offset + 4 * sizeof(CacheBucket);
    h.data_offset = kDataOffset;
    h.segment_count = kSegments;
    h.segment_shift = kShift;
    h.touch_lanes = 1;
    h.touch_ring = 16;
    h.entry_bytes_max = 1000;
    h.generation.store(1);
    for (std::uint32_t i = 0; i < kSegments; ++i) epoch(i).store(2);
  }
  CacheHeader& header() { return *reinterpret_cast<CacheHeader*>(mapping_.data()); }
  std::atomic<std::uint64_t>& epoch(std::uint32_t segment) {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(mapping_.data() +
                                                         header().epochs_offset)[segment];
  }
  std::atomic<std::uint64_t>& word(const CacheKey& key, std::size_t which, std::size_t at) {
    auto* buckets = reinterpret_cast<CacheBucket*>(mapping_.data() + header().index_offset);
    return buckets[spots_of(key, 4).buckets[which]].words[at];
  }
  static std::uint64_t word_for(const CacheKey& key, std::uint64_t offset) {
    return index_word(spots_of(key, 4).tag, offset);
  }
  CacheEntry& entry(std::uint64_t offset) {
    return *reinterpret_cast<CacheEntry*>(mapping_.data() + offset);
  }
  // An entry of key `number` at an offset, which lives for an hour.
  void write(std::uint64_t number, std::uint64_t offset, std::uint64_t version = 1) {
    entry(offset) = {.key = cache_key(number),
                     .expires_mono_ns = kNow.mono + 3600 * base::kSecond,
                     .created_wall_ns = kNow.wall_ns,
                     .compute_ns = 500,
                     .ttl_s = 3600,
                     .value_size = kValue,
                     .service = 0,
                     .head_size = 16,
                     .source = 0,
                     .reserved = 0};
    fill_value({mapping_.data() + offset + sizeof(CacheEntry), kValue}, number, version);
  }
  base::Fd duplicate() const { return base::Fd(::dup(fd_.get())); }
  std::unique_ptr<CacheReader> reader(base::Fd touches = {}) const {
    auto opened = CacheReader::open(duplicate(), std::move(touches));
    EXPECT_TRUE(opened) << opened.error().message;
    return *std::move(opened);
  }

 private:
  base::Fd fd_;
  Mapping mapping_;
};

// The version that is found, or nothing; a value that is not whole fails the test.
std::optional<std::uint64_t> get(const CacheReader& reader, std::uint64_t number,
                                 CacheTimes now = kNow, std::size_t size = kValue) {
  std::vector<std::byte> value(size);
  const std::span<std::byte> all(value);
  const std::size_t head = std::min<std::size_t>(16, size);
  if (!reader.get(cache_key(number), all.first(head), all.subspan(head), now)) return std::nullopt;
  const auto version = version_of(value, number);
  EXPECT_TRUE(version) << "a torn value";
  return version;
}

TEST(CacheReader, FindsWhatIsPublishedInEitherBucket) {
  Region region;
  const auto reader = region.reader();
  EXPECT_FALSE(get(*reader, 1));
  region.write(1, kDataOffset);
  EXPECT_FALSE(get(*reader, 1)) << "written, not published";
  region.word(cache_key(1), 0, 7).store(Region::word_for(cache_key(1), kDataOffset));
  EXPECT_EQ(get(*reader, 1), 1U);
  region.write(2, kDataOffset + 4096 + 200, 9);
  region.word(cache_key(2), 1, 3).store(Region::word_for(cache_key(2), kDataOffset + 4096 + 200));
  EXPECT_EQ(get(*reader, 2), 9U);
  EXPECT_EQ(get(*reader, 1), 1U);
}

TEST(CacheReader, AnotherKeyWithTheSameBucketsAndTagIsNeverServed) {
  Region region;
  const auto reader = region.reader();
  // Differs in its last byte alone, which neither a bucket nor the tag is made of.
  CacheKey twin = cache_key(1);
  twin.bytes[31] ^= std::byte{1};
  region.write(1, kDataOffset);
  region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), kDataOffset));
  std::vector<std::byte> value(kValue);
  EXPECT_FALSE(reader->get(twin, {}, value, kNow));
  // Both are found where both are there.
  region.write(2, kDataOffset + 400);
  region.entry(kDataOffset + 400).key = twin;
  region.word(twin, 0, 1).store(Region::word_for(twin, kDataOffset + 400));
  EXPECT_TRUE(reader->get(twin, {}, value, kNow));
  EXPECT_EQ(version_of(value, 2), 1U);
  EXPECT_EQ(get(*reader, 1), 1U);
}

TEST(CacheReader, AValueOfAnotherSizeIsAMiss) {
  Region region;
  const auto reader = region.reader();
  region.write(1, kDataOffset);
  region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), kDataOffset));
  for (const std::size_t size : {0UL, 16UL, kValue - 1, kValue + 1, 1000UL, 1001UL, 100'000UL}) {
    EXPECT_FALSE(get(*reader, 1, kNow, size)) << size;
  }
  EXPECT_EQ(get(*reader, 1), 1U);
}

TEST(CacheReader, ASegmentThatIsBeingRewrittenIsAMiss) {
  Region region;
  const auto reader = region.reader();
  region.write(1, kDataOffset);
  region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), kDataOffset));
  region.epoch(0).store(3);
  EXPECT_FALSE(get(*reader, 1));
  region.epoch(0).store(4);
  EXPECT_EQ(get(*reader, 1), 1U);
}

TEST(CacheReader, WhatIsOldByEitherClockIsAMiss) {
  Region region;
  const auto reader = region.reader();
  region.write(1, kDataOffset);
  region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), kDataOffset));
  constexpr base::Nanos kHour = 3600 * base::kSecond;
  EXPECT_TRUE(get(*reader, 1, {kNow.mono + kHour - 1, kNow.wall_ns + kHour - 1}));
  EXPECT_FALSE(get(*reader, 1, {kNow.mono + kHour, kNow.wall_ns}));
  EXPECT_FALSE(get(*reader, 1, {kNow.mono, kNow.wall_ns + kHour}));
  EXPECT_FALSE(get(*reader, 1, {kNow.mono, kNow.wall_ns - 2 * base::kSecond}));
}

TEST(CacheReader, ReadsItsOwnClocksWhenItIsToldNone) {
  Region region;
  // As if the sidecar's clock were an hour ahead of ours.
  constexpr base::Nanos kHour = 3600 * base::kSecond;
  region.header().monotonic_offset_ns = monotonic_offset_ns().value() + kHour;
  const auto reader = region.reader();
  region.write(1, kDataOffset);
  region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), kDataOffset));
  std::vector<std::byte> value(kValue);
  region.entry(kDataOffset).created_wall_ns = coarse_times().wall_ns;
  region.entry(kDataOffset).expires_mono_ns = coarse_times().mono + kHour + 600 * base::kSecond;
  EXPECT_TRUE(reader->get(cache_key(1), {}, value));
  region.entry(kDataOffset).expires_mono_ns = coarse_times().mono + kHour - base::kSecond;
  EXPECT_FALSE(reader->get(cache_key(1), {}, value));
  region.entry(kDataOffset).expires_mono_ns = coarse_times().mono + kHour + 600 * base::kSecond;
  region.entry(kDataOffset).created_wall_ns -= kHour;
  EXPECT_FALSE(reader->get(cache_key(1), {}, value));
}

TEST(CacheReader, WordsThatLeadAstrayLeadToAMiss) {
  Region region;
  const auto reader = region.reader();
  for (const std::uint64_t offset :
       {std::uint64_t{8}, kDataOffset - 8, kSize - 8, kSize, kSize + 4096, kCacheRegionMax - 8}) {
    region.word(cache_key(1), 0, 0).store(Region::word_for(cache_key(1), offset));
    EXPECT_FALSE(get(*reader, 1)) << offset;
  }
}

TEST(CacheReader, WritesWhatItHitAndCountsWhatItMissed) {
  Region region;
  base::Fd page = create_region("touches", touch_page_size(1, 16)).value();
  const Mapping seen = Mapping::map(page.get(), touch_page_size(1, 16), Access::kRead).value();
  const auto* lane = reinterpret_cast<const TouchLane*>(seen.data());
  const auto* ring = reinterpret_cast<const std::atomic<std::uint64_t>*>(lane + 1);
  const auto reader = region.reader(std::move(page));
  for (std::uint64_t number = 0; number < 2; ++number) {
    const std::uint64_t offset = kDataOffset + 400 * number;
    region.write(number, offset);
    region.word(cache_key(number), 0, number).store(Region::word_for(cache_key(number), offset));
  }
  region.entry(kDataOffset + 400).source = 2;
  EXPECT_FALSE(get(*reader, 7));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(get(*reader, 0));
  ASSERT_TRUE(get(*reader, 1));
  EXPECT_EQ(lane->misses.load(), 1U);
  EXPECT_EQ(lane->hits[0].load(), 3U);
  EXPECT_EQ(lane->hits[2].load(), 1U);
  EXPECT_EQ(lane->saved_ns.load(), 2000U);
  EXPECT_EQ(lane->touches.load(), 4U);
  const auto touch = [](std::uint64_t number) {
    const CacheSpots spots = spots_of(cache_key(number), 4);
    return touch_word(spots.tag, slot_of(spots.buckets[0], number));
  };
  EXPECT_EQ(ring[2].load(), touch(0));
  EXPECT_EQ(ring[3].load(), touch(1));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(get(*reader, i % 2 == 0 ? 0 : 1));
  EXPECT_EQ(lane->touches.load(), 54U) << "the ring goes round";
  EXPECT_EQ(ring[53 % 16].load(), touch(1));
}

TEST(CacheReader, TellsTheGeneration) {
  Region region;
  const auto reader = region.reader();
  EXPECT_EQ(reader->generation(), 1U);
  region.header().generation.store(5);
  EXPECT_EQ(reader->generation(), 5U);
}

TEST(CacheReader, WhatIsNoCacheRegionIsNotOpened) {
  const auto code = [](Region& region) {
    const auto opened = CacheReader::open(region.duplicate(), {});
    return opened ? base::Code::kOk : opened.error().code;
  };
  struct Lie {
    const char* what;
    void (*tell)(CacheHeader&);
    base::Code code = base::Code::kInvalid;
  };
  const Lie lies[] = {
      {"magic", [](CacheHeader& h) { h.magic[0] = 'X'; }},
      {"version", [](CacheHeader& h) { h.version_major = 2; }, base::Code::kVersionMismatch},
      {"size", [](CacheHeader& h) { h.region_size += 1; }},
      {"no buckets", [](CacheHeader& h) { h.bucket_count = 0; }},
      {"buckets", [](CacheHeader& h) { h.bucket_count = 1'000'000; }},
      {"many buckets", [](CacheHeader& h) { h.bucket_count = 1ULL << 58; }},
      {"index", [](CacheHeader& h) { h.index_offset = ~63ULL; }},
      {"crooked index", [](CacheHeader& h) { h.index_offset += 8; }},
      {"epochs", [](CacheHeader& h) { h.epochs_offset = kSize - 8; }},
      {"crooked epochs", [](CacheHeader& h) { h.epochs_offset += 4; }},
      {"segments", [](CacheHeader& h) { h.segment_count = 5; }},
      {"no segments", [](CacheHeader& h) { h.segment_count = 0; }},
      {"segment size", [](CacheHeader& h) { h.segment_shift = 13; }},
      {"huge segments", [](CacheHeader& h) { h.segment_shift = 63; }},
      {"small segments", [](CacheHeader& h) { h.segment_shift = 2; }},
      {"data", [](CacheHeader& h) { h.data_offset += 4096; }},
      {"crooked data", [](CacheHeader& h) { h.data_offset -= 4; }},
      {"no lanes", [](CacheHeader& h) { h.touch_lanes = 0; }},
      {"three lanes", [](CacheHeader& h) { h.touch_lanes = 3; }},
      {"ring", [](CacheHeader& h) { h.touch_ring = 100; }},
  };
  for (const Lie& lie : lies) {
    Region region;
    ASSERT_EQ(code(region), base::Code::kOk);
    lie.tell(region.header());
    EXPECT_EQ(code(region), lie.code) << lie.what;
  }
  EXPECT_FALSE(CacheReader::open({}, {}));
  EXPECT_FALSE(CacheReader::open(create_region("small", 100).value(), {}));
  Region region;
  EXPECT_FALSE(CacheReader::open(region.duplicate(), create_region("touches", 64).value()))
      << "a touch page that is too small";
  EXPECT_FALSE(CacheReader::open(base::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), {}));
}

}  // namespace
}  // namespace nacelle::shm
