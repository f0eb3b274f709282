// Every byte of region C, the result cache, and of the touch page that goes back from a client.
// docs/formats/cache.md says the same in prose, with an example.
//
//   C, cache region   written by the sidecar, sealed so that no other mapping can ever write
//       CacheHeader | CacheBucket x bucket_count | epoch x segment_count | segments
//   touch page        written by one client, mapped read-only by the sidecar
//       TouchLane and its ring x touch_lanes
//
// A segment is a log of entries, one behind the other. An entry is written whole and then published
// by one store of its index word; after that it never changes. What can happen is that its segment
// is given to other entries: the segment's epoch tells.
//
// Invariants
//   (1) An index word leads to a whole entry, in a segment whose epoch is even.
//   (2) No index word leads into a segment whose epoch is odd, and none is published into it.
//   (3) Bytes of a segment are written only behind the last published entry, or after its epoch has
//       gone on; an epoch only grows.
//
// Everything is little-endian. Monotonic times are those of the sidecar's clock.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "shm/cache_key.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

static_assert(std::endian::native == std::endian::little, "the shared layout is little-endian");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint64_t>) == 8);

inline constexpr char kCacheMagic[8] = {'N', 'L', 'C', 'A', 'C', 'H', 'E', '\0'};
// A reader needs the same major version.
inline constexpr std::uint16_t kCacheVersionMajor = 1;
inline constexpr std::uint16_t kCacheVersionMinor = 0;

inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::uint64_t kCachePage = 4096;
inline constexpr std::uint64_t kCacheGrain = 8;  // entries begin at multiples of it
inline constexpr std::uint32_t kSegmentShiftMin = 10;
inline constexpr std::uint32_t kSegmentShiftMax = 26;
inline constexpr std::uint32_t kSegmentsMax = 1U << 20;
inline constexpr std::uint64_t kBucketsMax = 1U << 28;
inline constexpr std::uint32_t kTouchLanesMax = 64;
inline constexpr std::uint32_t kTouchRingMax = 1U << 16;

struct alignas(kCacheLine) CacheHeader {
  char magic[8];  // kCacheMagic, written last
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t header_size;    // sizeof(CacheHeader)
  std::uint64_t region_size;    // bytes
  std::uint64_t index_offset;   // of the first bucket; offsets are from the start of the region
  std::uint64_t bucket_count;   // at most kBucketsMax
  std::uint64_t epochs_offset;  // of the first segment's epoch, 8 bytes each
  std::uint64_t data_offset;    // of the first segment
  std::uint32_t segment_count;
  std::uint32_t segment_shift;  // a segment has 2^segment_shift bytes
  // The sidecar's monotonic clock is so far ahead of the machine's own: its time namespace.
  std::int64_t monotonic_offset_ns;
  std::uint32_t touch_lanes;      // of every touch page; a power of two
  std::uint32_t touch_ring;       // places of a lane's ring; a power of two
  std::uint32_t entry_bytes_max;  // of a value
  std::uint32_t reserved0[11];
  // Grows when answers that were right are so no longer: what a client knows of the services is
  // old, too. On a line of its own, as the one field that changes.
  alignas(kCacheLine) std::atomic<std::uint64_t> generation;
  std::uint64_t reserved1[7];
};
static_assert(sizeof(CacheHeader) == 192);
static_assert(offsetof(CacheHeader, region_size) == 16 && offsetof(CacheHeader, data_offset) == 48);
static_assert(offsetof(CacheHeader, segment_count) == 56 &&
              offsetof(CacheHeader, segment_shift) == 60);
static_assert(offsetof(CacheHeader, monotonic_offset_ns) == 64 &&
              offsetof(CacheHeader, touch_lanes) == 72 &&
              offsetof(CacheHeader, entry_bytes_max) == 80 &&
              offsetof(CacheHeader, generation) == 128);

// ---- the index ----

// Where entries are. A word is 0, or
//
//   bits 0-33    place: the entry's offset in the region, in kCacheGrain
//   bits 34-63   tag: 30 bits of its key
inline constexpr std::size_t kBucketWords = 8;
struct alignas(kCacheLine) CacheBucket {
  std::array<std::atomic<std::uint64_t>, kBucketWords> words;
};
static_assert(sizeof(CacheBucket) == 64);

inline constexpr int kTagShift = 34;
inline constexpr std::uint64_t kPlaceMask = (1ULL << kTagShift) - 1;
inline constexpr std::uint64_t kCacheRegionMax = (kPlaceMask + 1) * kCacheGrain;  // 128 GiB

constexpr std::uint64_t index_word(std::uint64_t tag, std::uint64_t offset) {
  return tag << kTagShift | offset / kCacheGrain;
}
constexpr std::uint64_t tag_of(std::uint64_t word) { return word >> kTagShift; }
constexpr std::uint64_t offset_of(std::uint64_t word) { return (word & kPlaceMask) * kCacheGrain; }

// Where a key's word may be: in one of two buckets, under this tag.
struct CacheSpots {
  std::array<std::uint64_t, 2> buckets;
  std::uint64_t tag;
};
// The number in the key's bytes [8 * which, 8 * which + 8).
inline std::uint64_t key_word(const CacheKey& key, std::size_t which) {
  std::uint64_t word = 0;
  std::memcpy(&word, key.bytes.data() + 8 * which, sizeof word);
  return word;
}
// A number below `count` (less than 2^32) from 64 random bits, without a division.
constexpr std::uint64_t scaled(std::uint64_t random, std::uint64_t count) {
  return (random >> 32) * count >> 32;
}
inline CacheSpots spots_of(const CacheKey& key, std::uint64_t bucket_count) {
  return {{scaled(key_word(key, 0), bucket_count), scaled(key_word(key, 1), bucket_count)},
          key_word(key, 2) & ((1ULL << (64 - kTagShift)) - 1)};
}
// A word's number in the whole index; bucket_count * kBucketWords of them, fewer than 2^32.
constexpr std::uint32_t slot_of(std::uint64_t bucket, std::size_t word) {
  return static_cast<std::uint32_t>(bucket * kBucketWords + word);
}

// ---- entries ----

// What stands before a value; the value's bytes follow, padded to kCacheGrain.
struct CacheEntry {
  CacheKey key;
  std::int64_t expires_mono_ns;  // not served from then on
  std::int64_t created_wall_ns;  // since 1970; not served before, nor from `ttl_s` later on
  std::uint64_t compute_ns;      // what it took to compute
  std::uint32_t ttl_s;
  std::uint32_t value_size;  // bytes
  std::uint32_t service;     // the sidecar's number for the service
  std::uint16_t head_size;   // of the value's bytes, that many are its report
  std::uint8_t source;       // cache::Source
  std::uint8_t reserved;
};
static_assert(sizeof(CacheEntry) == 72 && sizeof(CacheEntry) % kCacheGrain == 0);
static_assert(offsetof(CacheEntry, expires_mono_ns) == 32 && offsetof(CacheEntry, ttl_s) == 56 &&
              offsetof(CacheEntry, service) == 64 && offsetof(CacheEntry, source) == 70);
inline constexpr std::size_t kCacheSources = 3;

// What an entry with a value of this size takes in its segment.
constexpr std::uint64_t entry_size(std::uint64_t value_size) {
  return sizeof(CacheEntry) + base::align_up(value_size, kCacheGrain);
}

// Now, by both clocks: `mono` is the sidecar's monotonic one.
struct CacheTimes {
  base::Nanos mono = 0;
  std::int64_t wall_ns = 0;
};

// An entry may be so far in the future, by the wall clock: coarse clocks tick late.
inline constexpr std::int64_t kFutureSlack = base::kSecond;

// Whether an entry may still be served: by either clock, and not when the wall clock has gone back
// behind the entry's making.
inline bool is_fresh(const CacheEntry& entry, CacheTimes now) {
  if (now.mono >= entry.expires_mono_ns) return false;
  // Unsigned, so that no two times are too far apart.
  const auto created = static_cast<std::uint64_t>(entry.created_wall_ns);
  const auto wall = static_cast<std::uint64_t>(now.wall_ns);
  if (now.wall_ns < entry.created_wall_ns) {
    return created - wall <= static_cast<std::uint64_t>(kFutureSlack);
  }
  return wall - created < std::uint64_t{entry.ttl_s} * base::kSecond;
}

// ---- the touch page ----

// Which entries a client has hit of late, and how much came of it: written by the client alone,
// some threads to a lane. Two threads that share a lane may now and then lose one another's count;
// nobody computes anything else from it than what is popular, and statistics.
struct alignas(kCacheLine) TouchLane {
  std::atomic<std::uint64_t> touches;  // written to the ring so far; place = touches % touch_ring
  std::array<std::atomic<std::uint64_t>, kCacheSources> hits;  // by the entries' source
  std::atomic<std::uint64_t> misses;
  std::atomic<std::uint64_t> saved_ns;  // compute_ns of all that was hit
  std::uint64_t reserved[2];
};
static_assert(sizeof(TouchLane) == 64 && offsetof(TouchLane, misses) == 32);

// The ring behind a lane holds touches: tag in bits 34-63 as in the index word, slot in bits 0-31.
constexpr std::uint64_t touch_word(std::uint64_t tag, std::uint32_t slot) {
  return tag << kTagShift | slot;
}
constexpr std::uint64_t touch_lane_size(std::uint32_t ring) {
  return sizeof(TouchLane) + std::uint64_t{ring} * sizeof(std::uint64_t);
}
constexpr std::uint64_t touch_page_size(std::uint32_t lanes, std::uint32_t ring) {
  return base::align_up(lanes * touch_lane_size(ring), kCachePage);
}

}  // namespace nacelle::shm
