#include "sidecar/cache/policy.h"

#include <algorithm>

namespace nacelle::cache {

std::uint32_t choose_victim(const Segments& segments) {
  const std::uint32_t probation = std::max(1U, segments.size() * kProbationPercent / 100);
  const std::uint32_t main = segments.oldest(Queue::kMain);
  if (main == kNoSegment || segments.count(Queue::kProbation) > probation) {
    return segments.oldest(Queue::kProbation);
  }
  return main;
}

std::uint32_t carried_from(const BytesByPopularity& bytes, std::uint64_t segment_bytes) {
  const std::uint64_t limit = segment_bytes * kCarriedPercent / 100;
  std::uint64_t carried = 0;
  std::uint32_t from = kPopularityMax + 1;
  while (from > 1 && carried + bytes[from - 1] <= limit) {
    carried += bytes[from - 1];
    --from;
  }
  return from;
}

}  // namespace nacelle::cache
