// Sizes and offsets that came from somebody else, and the bytes they speak of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace nacelle::base {

// a + b and a * b, or nothing when the result does not fit in 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
[[nodiscard]] inline std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Whether [offset, offset + size) lies inside [0, limit), without overflowing on the way.
[[nodiscard]] inline bool fits(std::uint64_t offset, std::uint64_t size, std::uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}

// The next multiple of `alignment` (a power of two) at or above `value`.
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// memcpy that may be asked for nothing: then the pointers may be null, which memcpy forbids.
inline void copy_bytes(void* to, const void* from, std::size_t size) {
  if (size > 0) std::memcpy(to, from, size);
}

}  // namespace nacelle::base
