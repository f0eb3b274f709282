// The writer's end of the index: from a key to the word that leads to its entry, and how popular
// that entry is. A key has two buckets of 8 words; its word stays in its slot for as long as the
// key is there, also when the entry is moved or replaced, so a reader never misses it meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "shm/cache_layout.h"

namespace nacelle::cache {

class Index {
 public:
  // `region` is region C; `popularity` has a byte for each word of `buckets`. Both are zero.
  Index(std::span<const std::byte> region, std::span<shm::CacheBucket> buckets,
        std::span<std::uint8_t> popularity)
      : region_(region), buckets_(buckets), popularity_(popularity) {}

  [[nodiscard]] shm::CacheSpots spots(const shm::CacheKey& key) const {
    return shm::spots_of(key, buckets_.size());
  }
  // The slot of `key`; all of its bytes are compared.
  [[nodiscard]] std::optional<std::uint32_t> find(const shm::CacheKey& key,
                                                  const shm::CacheSpots& spots) const;
  // The slot whose word leads to `offset`, where an entry of such a key is.
  [[nodiscard]] std::optional<std::uint32_t> find_at(const shm::CacheSpots& spots,
                                                     std::uint64_t offset) const;
  // A slot for a new key: an empty one in the emptier of its buckets, else that of the least
  // popular entry in them, which is then lost.
  [[nodiscard]] std::uint32_t choose(const shm::CacheSpots& spots) const;

  // 0, or the word in the slot.
  [[nodiscard]] std::uint64_t word(std::uint32_t slot) const;
  // Makes the entry at `offset` the one that readers find; it is written whole. The slot is of one
  // of the key's buckets. Popularity stays as it is.
  void publish(std::uint32_t slot, const shm::CacheSpots& spots, std::uint64_t offset);
  void clear(std::uint32_t slot);

  [[nodiscard]] std::uint8_t popularity(std::uint32_t slot) const { return popularity_[slot]; }
  void set_popularity(std::uint32_t slot, std::uint8_t to) { popularity_[slot] = to; }
  // One more hit; stops at `most`.
  void touch(std::uint32_t slot, std::uint8_t most) {
    if (popularity_[slot] < most) ++popularity_[slot];
  }

  [[nodiscard]] std::uint64_t slots() const { return popularity_.size(); }
  [[nodiscard]] std::uint64_t used() const { return used_; }

 private:
  std::atomic<std::uint64_t>& at(std::uint32_t slot);
  [[nodiscard]] const std::atomic<std::uint64_t>& at(std::uint32_t slot) const;

  std::span<const std::byte> region_;
  std::span<shm::CacheBucket> buckets_;
  std::span<std::uint8_t> popularity_;
  std::uint64_t used_ = 0;
};

}  // namespace nacelle::cache
