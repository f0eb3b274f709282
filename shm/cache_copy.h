// Copies into and out of segments, whose bytes may be given to another entry while a reader copies
// them. The reader notices, by the segment's epoch, and throws away what it got: a sequence lock.
//
// The language calls that a data race. It has no copy of many bytes that is atomic byte by byte
// (P1478 would add it), and a loop over atomic words costs two to three times memcpy's time; so
// this is memcpy between fences, which is what such a copy would compile to. The thread sanitizer
// knows neither fences nor our excuse: for it the same copies are made of atomic bytes with the
// order on each.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace nacelle::shm {

// The C library may copy what is larger with stores that pass earlier ones.
inline constexpr std::size_t kCacheCopyMax = 16'384;

#if defined(__SANITIZE_THREAD__)

inline void copy_from_segment(void* to, const std::byte* from, std::size_t size) {
  auto* out = static_cast<unsigned char*>(to);
  const auto* in = reinterpret_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < size; ++i) out[i] = __atomic_load_n(in + i, __ATOMIC_ACQUIRE);
}
inline void copy_to_segment(std::byte* to, const void* from, std::size_t size) {
  auto* out = reinterpret_cast<unsigned char*>(to);
  const auto* in = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < size; ++i) __atomic_store_n(out + i, in[i], __ATOMIC_RELEASE);
}
inline void after_copies_from() {}
inline void before_copies_to() {}

#else

inline void copy_from_segment(void* to, const std::byte* from, std::size_t size) {
  if (size > 0) std::memcpy(to, from, size);
}
inline void copy_to_segment(std::byte* to, const void* from, std::size_t size) {
  for (std::size_t done = 0; done < size; done += kCacheCopyMax) {
    std::memcpy(to + done, static_cast<const std::byte*>(from) + done,
                std::min(kCacheCopyMax, size - done));
  }
}
// Between the copies and the second look at the epoch: if a copy has met a byte of another entry,
// that look sees an epoch that has gone on.
inline void after_copies_from() { std::atomic_thread_fence(std::memory_order_acquire); }
// Between the store of an odd epoch and the first byte of the segment's next entry.
inline void before_copies_to() { std::atomic_thread_fence(std::memory_order_release); }

#endif

}  // namespace nacelle::shm
