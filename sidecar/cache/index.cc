#include "sidecar/cache/index.h"

#include <array>

namespace nacelle::cache {

using shm::kBucketWords;

std::atomic<std::uint64_t>& Index::at(std::uint32_t slot) {
  return buckets_[slot / kBucketWords].words[slot % kBucketWords];
}
const std::atomic<std::uint64_t>& Index::at(std::uint32_t slot) const {
  return buckets_[slot / kBucketWords].words[slot % kBucketWords];
}

std::uint64_t Index::word(std::uint32_t slot) const {
  return at(slot).load(std::memory_order_relaxed);  // we are the only writer
}

std::optional<std::uint32_t> Index::find(const shm::CacheKey& key,
                                         const shm::CacheSpots& spots) const {
  for (const std::uint64_t bucket : spots.buckets) {
    for (std::size_t i = 0; i < kBucketWords; ++i) {
      const std::uint32_t slot = shm::slot_of(bucket, i);
      const std::uint64_t found = word(slot);
      if (found == 0 || shm::tag_of(found) != spots.tag) continue;
      const auto* entry =
          reinterpret_cast<const shm::CacheEntry*>(region_.data() + shm::offset_of(found));
      if (entry->key == key) return slot;
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Index::find_at(const shm::CacheSpots& spots,
                                            std::uint64_t offset) const {
  const std::uint64_t wanted = shm::index_word(spots.tag, offset);
  for (const std::uint64_t bucket : spots.buckets) {
    for (std::size_t i = 0; i < kBucketWords; ++i) {
      const std::uint32_t slot = shm::slot_of(bucket, i);
      if (word(slot) == wanted) return slot;
    }
  }
  return std::nullopt;
}

std::uint32_t Index::choose(const shm::CacheSpots& spots) const {
  struct Best {
    std::uint32_t empty = 0;  // slots
    std::uint32_t slot = 0;
  };
  std::array<Best, 2> best{};
  std::uint32_t least = shm::slot_of(spots.buckets[0], 0);
  for (std::size_t which = 0; which < 2; ++which) {
    for (std::size_t i = 0; i < kBucketWords; ++i) {
      const std::uint32_t slot = shm::slot_of(spots.buckets[which], i);
      if (word(slot) == 0) {
        ++best[which].empty;
        best[which].slot = slot;
      } else if (popularity_[slot] < popularity_[least]) {
        least = slot;
      }
    }
  }
  const Best& emptier = best[0].empty >= best[1].empty ? best[0] : best[1];
  return emptier.empty > 0 ? emptier.slot : least;
}

void Index::publish(std::uint32_t slot, const shm::CacheSpots& spots, std::uint64_t offset) {
  std::atomic<std::uint64_t>& place = at(slot);
  if (place.load(std::memory_order_relaxed) == 0) ++used_;
  // release: pairs with the acquire in CacheReader; who sees the word sees the whole entry.
  place.store(shm::index_word(spots.tag, offset), std::memory_order_release);
}

void Index::clear(std::uint32_t slot) {
  std::atomic<std::uint64_t>& place = at(slot);
  if (place.load(std::memory_order_relaxed) == 0) return;
  // Nothing is read through a 0; that it is seen before the segment's next life is due to the
  // release of the epoch in Segments::take.
  place.store(0, std::memory_order_relaxed);
  popularity_[slot] = 0;
  --used_;
}

}  // namespace nacelle::cache
