// How soon a thread makes room for others on its CPU.
#pragma once

#include "sidecar/base/time.h"

namespace nacelle::base {

// Of threads that compute for long and of those that answer: docs/decisions/0029-short-slices.md.
inline constexpr Nanos kComputeSlice = 300 * kMicrosecond;
inline constexpr Nanos kAnswerSlice = 100 * kMicrosecond;

// Asks the kernel to give the calling thread its CPU time in slices of about this length, 0.1 to
// 100 ms, instead of some 3 ms: it gets as much as before, but whoever wakes up on its CPU runs
// after a shorter while, and it does itself when it wakes up. Linux 6.12 and newer; elsewhere
// nothing changes.
void take_short_slices(Nanos slice);

}  // namespace nacelle::base
