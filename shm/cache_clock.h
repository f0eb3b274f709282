// The two clocks of a cache's reader: read without a system call, and made one with the sidecar's.
#pragma once

#include <cstdint>

#include "shm/cache_layout.h"
#include "sidecar/base/result.h"

namespace nacelle::shm {

// Both clocks as of the last tick of the kernel, at most 10 ms ago: the vDSO tells them in some
// nanoseconds each. `mono` is this process's own monotonic clock.
CacheTimes coarse_times();

// How far this process's monotonic clock is ahead of the machine's own; not 0 in a time namespace,
// as some containers have one. Two processes with the same number read the same clock. kUnavailable
// when it cannot be told: the process has changed its children's namespace and not its own, or
// there is no /proc. Reads files: once, at the start.
base::Result<std::int64_t> monotonic_offset_ns();

// The number in the text of /proc/self/timens_offsets, in nanoseconds.
base::Result<std::int64_t> parse_monotonic_offset(const char* text);

}  // namespace nacelle::shm
