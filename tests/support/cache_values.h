// Keys by number, and values that describe themselves: whose they are, which version, and every
// byte of them follows from that. A reader that gets parts of two values sees it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "shm/cache_key.h"

namespace nacelle::testing {

// splitmix64 (Steele and others, 2014): all bits of the result depend on all of `x`.
constexpr std::uint64_t mixed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// As random as a SHA-256.
inline shm::CacheKey cache_key(std::uint64_t number) {
  shm::CacheKey key;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t word = mixed(number * 4 + i);
    std::memcpy(key.bytes.data() + 8 * i, &word, sizeof word);
  }
  return key;
}

inline constexpr std::size_t kCacheValueMin = 16;

// `value` becomes that of a key: its number, its version, and bytes that follow from the two.
inline void fill_value(std::span<std::byte> value, std::uint64_t number, std::uint64_t version) {
  std::memcpy(value.data(), &number, 8);
  std::memcpy(value.data() + 8, &version, 8);
  for (std::size_t at = kCacheValueMin; at < value.size(); at += 8) {
    const std::uint64_t word = mixed(number ^ mixed(version ^ mixed(at ^ value.size())));
    std::memcpy(value.data() + at, &word, std::min<std::size_t>(8, value.size() - at));
  }
}

// Its version, if every byte is as it was filled for that number; nothing else is whole.
inline std::optional<std::uint64_t> version_of(std::span<const std::byte> value,
                                               std::uint64_t number) {
  std::uint64_t said = 0;
  std::uint64_t version = 0;
  std::memcpy(&said, value.data(), 8);
  std::memcpy(&version, value.data() + 8, 8);
  if (said != number) return std::nullopt;
  for (std::size_t at = kCacheValueMin; at < value.size(); at += 8) {
    const std::uint64_t word = mixed(number ^ mixed(version ^ mixed(at ^ value.size())));
    if (std::memcmp(value.data() + at, &word, std::min<std::size_t>(8, value.size() - at)) != 0) {
      return std::nullopt;
    }
  }
  return version;
}

}  // namespace nacelle::testing
