#include "sidecar/cache/geometry.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "shm/cache_layout.h"
#include "sidecar/base/bytes.h"
#include "sidecar/cache/ghost.h"
#include "sidecar/cache/segments.h"
#include "sidecar/cache/touches.h"

namespace nacelle::cache {
namespace {

constexpr std::uint32_t kSegmentsWanted = 256;
constexpr std::uint32_t kSegmentShiftChosenMax = 20;
constexpr std::uint32_t kReadersMax = 4096;
constexpr std::uint32_t kTouchesMin = 64;
constexpr std::uint32_t kTouchesMax = 1U << 16;
// Threads of one client that do not meet in a lane; a lane's ring has at least 16 places.
constexpr std::uint32_t kLanes = 4;
// Slots of the index per typical entry: two buckets of 8 for a key are full before all are.
constexpr std::uint64_t kSlotsPer3Entries = 4;

base::Error invalid(const std::string& what) {
  return {base::Code::kInvalid, "the cache cannot be made: " + what};
}

// Where everything lies with so many segments.
Geometry lay_out(const TableOptions& options, std::uint32_t shift, std::uint64_t segments) {
  Geometry g;
  g.segment_shift = shift;
  g.segments = static_cast<std::uint32_t>(segments);
  const std::uint64_t data = segments << shift;
  const std::uint64_t typical =
      shm::entry_size(std::min(options.entry_bytes_typical, options.entry_bytes_max));
  g.buckets =
      std::max<std::uint64_t>(1, data * kSlotsPer3Entries / 3 / typical / shm::kBucketWords);
  g.buckets = std::min(g.buckets, shm::kBucketsMax);
  g.touch_lanes = kLanes;
  g.touch_ring = options.touches / kLanes;
  g.touch_page_bytes = shm::touch_page_size(g.touch_lanes, g.touch_ring);

  g.index_offset = sizeof(shm::CacheHeader);
  g.epochs_offset = g.index_offset + g.buckets * sizeof(shm::CacheBucket);
  g.data_offset = base::align_up(g.epochs_offset + segments * 8, shm::kCachePage);
  g.region_bytes = base::align_up(g.data_offset + data, shm::kCachePage);

  g.popularity_offset = 0;
  g.ghost_offset = base::align_up(g.slots(), shm::kCacheLine);
  g.segment_books_offset =
      base::align_up(g.ghost_offset + g.slots() * sizeof(std::uint32_t), shm::kCacheLine);
  g.touch_lines_offset =
      base::align_up(g.segment_books_offset + segments * sizeof(SegmentBook), shm::kCacheLine);
  g.book_bytes = base::align_up(
      g.touch_lines_offset + std::uint64_t{options.readers_max} * g.touch_lanes * sizeof(TouchLine),
      shm::kCachePage);
  return g;
}
static_assert(shm::kBucketWords % Ghost::kWays == 0, "as many ghosts as slots");

// The most segments of 2^shift bytes that fit.
Geometry fill(const TableOptions& options, std::uint32_t shift) {
  // Between none and as many as there would be without anything else: halved down to one.
  std::uint64_t fits = 0;
  std::uint64_t too_many =
      std::min<std::uint64_t>(shm::kSegmentsMax, options.memory_bytes >> shift) + 1;
  while (too_many - fits > 1) {
    const std::uint64_t middle = (fits + too_many) / 2;
    const Geometry g = lay_out(options, shift, middle);
    (g.memory_bytes(options.readers_max) <= options.memory_bytes ? fits : too_many) = middle;
  }
  return lay_out(options, shift, fits);
}

}  // namespace

std::uint64_t Geometry::slots() const { return buckets * shm::kBucketWords; }

base::Result<Geometry> plan_geometry(const TableOptions& options) {
  if (options.readers_max > kReadersMax) {
    return invalid("readers_max is at most " + std::to_string(kReadersMax));
  }
  if (!std::has_single_bit(options.touches) || options.touches < kTouchesMin ||
      options.touches > kTouchesMax) {
    return invalid("touches is a power of two from 64 to 65536, not " +
                   std::to_string(options.touches));
  }
  if (options.memory_bytes > shm::kCacheRegionMax) {
    return invalid("memory_bytes is at most " + std::to_string(shm::kCacheRegionMax));
  }
  if (options.entry_bytes_typical == 0) return invalid("entry_bytes_typical is at least 1");

  // So large that one entry of the largest size fits.
  const std::uint64_t entry = shm::entry_size(options.entry_bytes_max);
  const auto shift_for_entry = static_cast<std::uint32_t>(std::bit_width(entry - 1));
  std::uint32_t shift = std::max(shm::kSegmentShiftMin, shift_for_entry);
  if (shift > shm::kSegmentShiftMax) {
    return invalid("entry_bytes_max is too large for a segment of " +
                   std::to_string(1U << shm::kSegmentShiftMax) + " bytes");
  }
  if (options.segment_bytes != 0) {
    if (!std::has_single_bit(options.segment_bytes) ||
        options.segment_bytes < (1U << shm::kSegmentShiftMin) ||
        options.segment_bytes > (1U << shm::kSegmentShiftMax)) {
      return invalid("segment_bytes is a power of two from 1024 to 67108864, not " +
                     std::to_string(options.segment_bytes));
    }
    if (options.segment_bytes < entry) {
      return invalid("segment_bytes is " + std::to_string(options.segment_bytes) +
                     ", and one entry of entry_bytes_max needs " + std::to_string(entry));
    }
    shift = static_cast<std::uint32_t>(std::countr_zero(options.segment_bytes));
  } else {
    while (shift < kSegmentShiftChosenMax &&
           options.memory_bytes >> (shift + 1) >= kSegmentsWanted) {
      ++shift;
    }
  }
  const Geometry geometry = fill(options, shift);
  if (geometry.segments < kSegmentsMin) {
    return invalid(
        "memory_bytes is " + std::to_string(options.memory_bytes) + ", and " +
        std::to_string(lay_out(options, shift, kSegmentsMin).memory_bytes(options.readers_max)) +
        " are needed for " + std::to_string(kSegmentsMin) + " segments of " +
        std::to_string(1U << shift) + " bytes and " + std::to_string(options.readers_max) +
        " touch pages; or make entry_bytes_max smaller");
  }
  return geometry;
}

}  // namespace nacelle::cache
