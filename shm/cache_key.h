// The name of a cached answer: a SHA-256 over everything that decides it.
#pragma once

#include <array>
#include <cstddef>

namespace nacelle::shm {

struct CacheKey {
  std::array<std::byte, 32> bytes;

  friend bool operator==(const CacheKey&, const CacheKey&) = default;
};
static_assert(sizeof(CacheKey) == 32 && alignof(CacheKey) == 1);

}  // namespace nacelle::shm
