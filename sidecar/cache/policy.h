// Which segment goes when memory is needed, and what of it stays. The shape of S3-FIFO (Yang et
// al., SOSP 2023) on segments as in Segcache (Yang et al., NSDI 2021): a small queue where new
// entries are on probation, a main queue for those that were hit there or had been dropped before,
// and no list that a hit would have to change. A scan fills the probation queue and leaves main
// alone.
#pragma once

#include <array>
#include <cstdint>

#include "sidecar/cache/segments.h"

namespace nacelle::cache {

// Of all segments so many are for probation, but one at least. S3-FIFO takes a tenth; on the traces
// of tests/sidecar/cache/hit_rate_test.cc a twentieth is a quarter of a point better.
inline constexpr std::uint32_t kProbationPercent = 5;

// Hits of an entry are counted up to here, from when it was stored or last carried over.
inline constexpr std::uint8_t kPopularityMax = 15;
// From here on an entry on probation is moved to main.
inline constexpr std::uint8_t kPopularityPromoted = 1;
// What an entry's count becomes when it is carried over, from either queue.
constexpr std::uint8_t after_round(std::uint8_t popularity) {
  return static_cast<std::uint8_t>(popularity / 2);
}

// Of a segment of main all that was hit stays; but when room is looked for in a table full of such
// entries, only for so many segments, since each is copied and none set free. From then on at most
// this much of a segment stays, the most popular, and room for one is found after four.
inline constexpr std::uint32_t kGentleRounds = 8;
inline constexpr std::uint32_t kCarriedPercent = 75;

// The segment to free next, of those in use: the oldest on probation while that queue is longer
// than it should be, else the oldest of main.
std::uint32_t choose_victim(const Segments& segments);

// Bytes of a segment's entries by their popularity.
using BytesByPopularity = std::array<std::uint64_t, kPopularityMax + 1>;

// After the gentle rounds: the popularity from which on entries of a segment of main stay, the
// lowest, not below 1, with which no more than kCarriedPercent of `segment_bytes` do.
std::uint32_t carried_from(const BytesByPopularity& bytes, std::uint64_t segment_bytes);

}  // namespace nacelle::cache
