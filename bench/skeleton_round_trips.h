// Round trips without Nacelle, for bench/skeleton.py: the physical bound and a plain peer.
#pragma once

#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::bench {

inline constexpr unsigned kRoundTripsMax = 10'000'000;  // of one measurement, of any kind
inline constexpr std::size_t kMessageSize = 64;         // bytes each way

// Each of `count` round trips of one cache line each way, between two threads that do nothing else
// and are pinned to the CPUs `here` and `there`, which differ. Nothing between two cores is faster.
base::Result<std::vector<base::Nanos>> cache_line_round_trips(unsigned count, unsigned here,
                                                              unsigned there);

// Each of `count` echoes of kMessageSize bytes over a blocking Unix stream socket: one write and
// one read on each side. The other side is a thread, which favours it over a process a little.
// Verified: every echo holds the bytes that were sent.
base::Result<std::vector<base::Nanos>> socket_round_trips(unsigned count);

}  // namespace nacelle::bench
