// How the memory of a cache is divided, so that all of it together is never more than configured.
//
// What counts: region C (a memfd, charged to the sidecar, however many clients map it), the private
// books, and a touch page for each of `readers_max` clients. Whole pages, allocated or set aside at
// the start. What does not: the Table object itself with 32 bytes per client, and the kernel's page
// tables.
#pragma once

#include <cstdint>

#include "sidecar/base/result.h"

namespace nacelle::cache {

struct TableOptions {
  std::uint64_t memory_bytes = 256ULL << 20;
  // Of a segment: a power of two from 1 KiB to 64 MiB. 0: the largest up to 1 MiB that makes 256
  // segments, or more where one entry of the largest size needs it.
  std::uint32_t segment_bytes = 0;
  std::uint32_t entry_bytes_max = 64U << 10;  // of a value, head and body; larger ones are not kept
  // The index has room for about as many entries of this size as there is memory for; of smaller
  // ones not all that would fit can be kept. (It costs 13 bytes for each.)
  std::uint32_t entry_bytes_typical = 512;
  std::uint32_t readers_max = 64;  // touch pages at the same time
  std::uint32_t touches = 1024;    // hits that a touch page remembers: a power of two, 64 to 65,536
};

struct Geometry {
  std::uint32_t segment_shift = 0;
  std::uint32_t segments = 0;
  std::uint64_t buckets = 0;
  std::uint32_t touch_lanes = 0;
  std::uint32_t touch_ring = 0;  // per lane
  // Offsets in region C.
  std::uint64_t index_offset = 0;
  std::uint64_t epochs_offset = 0;
  std::uint64_t data_offset = 0;
  // Offsets in the books.
  std::uint64_t popularity_offset = 0;
  std::uint64_t ghost_offset = 0;
  std::uint64_t segment_books_offset = 0;
  std::uint64_t touch_lines_offset = 0;
  // Bytes.
  std::uint64_t region_bytes = 0;
  std::uint64_t book_bytes = 0;
  std::uint64_t touch_page_bytes = 0;  // of one client

  [[nodiscard]] std::uint64_t slots() const;
  [[nodiscard]] std::uint64_t memory_bytes(std::uint32_t readers_max) const {
    return region_bytes + book_bytes + readers_max * touch_page_bytes;
  }
};

// Fewer segments than this cannot be told old from young.
inline constexpr std::uint32_t kSegmentsMin = 16;

// The most segments that fit into `memory_bytes`. kInvalid, with what would do, when they are fewer
// than kSegmentsMin or when an option is out of its bounds.
base::Result<Geometry> plan_geometry(const TableOptions& options);

}  // namespace nacelle::cache
