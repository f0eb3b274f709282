// Keys that were dropped not long ago: who comes again so soon is worth more than a place on
// probation. 16 bits of a key and when it was dropped, in buckets of 8: a wrong yes comes one time
// in some thousand, and costs a place in main.
#pragma once

#include <cstdint>
#include <span>

#include "shm/cache_key.h"

namespace nacelle::cache {

class Ghost {
 public:
  static constexpr std::size_t kWays = 8;

  // `places` are zero, and a multiple of kWays of them.
  explicit Ghost(std::span<std::uint32_t> places);

  void remember(const shm::CacheKey& key);
  // Whether `key` was among the last `window` or so that were dropped. It is then forgotten.
  bool recall(const shm::CacheKey& key, std::uint64_t window);

 private:
  [[nodiscard]] std::span<std::uint32_t> bucket(const shm::CacheKey& key) const;
  [[nodiscard]] std::uint32_t age(std::uint32_t place) const;

  std::span<std::uint32_t> places_;  // fingerprint << 16 | time of dropping; 0: empty
  std::uint64_t grain_;              // keys dropped in one unit of that time
  std::uint64_t dropped_ = 0;
};

}  // namespace nacelle::cache
