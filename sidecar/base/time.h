// Time as a parameter: only the edges of the program ask the clock, everything inside is told.
#pragma once

#include <cstdint>
#include <ctime>

namespace nacelle::base {

// Nanoseconds of CLOCK_MONOTONIC, or a difference of two. Never stored in shared memory: the two
// sides may live in different time namespaces, so deadlines travel as differences.
using Nanos = std::int64_t;

inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kNever = INT64_MAX;

inline Nanos now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Nanos>(time.tv_sec) * kSecond + time.tv_nsec;
}

}  // namespace nacelle::base
