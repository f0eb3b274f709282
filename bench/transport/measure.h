// Timing calls one by one, with every reply checked, and what is told about them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/transport/way.h"

namespace nacelle::bench {

// Latencies of calls, in nanoseconds.
struct Latencies {
  std::vector<std::uint32_t> sorted;
  base::Nanos begin = 0;  // of the first call, CLOCK_MONOTONIC
  base::Nanos end = 0;    // of the last one
  base::Nanos cpu = 0;    // CPU time of this process between them

  // The smallest latency that at least `share` of the calls did not exceed; 0 without calls.
  [[nodiscard]] std::uint32_t at(double share) const;
};

struct Load {
  std::uint32_t reply_size = 1024;
  base::Nanos duration = base::kSecond;
  base::Nanos start_at = 0;  // CLOCK_MONOTONIC; 0: now. Several processes start together.
  // 0: each call follows the last one (a closed loop, which leaves out the calls that others would
  // have made during a stall). Else a call is due every so many nanoseconds, whatever became of the
  // ones before, and its latency counts from when it was due.
  base::Nanos interval = 0;
};

// Every byte of `count` replies; each serial number has other ones.
base::Status verify(Caller& caller, std::uint32_t reply_size, unsigned count);

// Calls for load.duration. Each reply's first and last eight bytes are checked, outside of the
// timed part.
base::Result<Latencies> measure(Caller& caller, const Load& load);

// {"count": .., "p50": .., "p99": .., "p999": .., "max": .., "begin": .., "end": .., "cpu": ..}
std::string to_json(const Latencies& latencies);

}  // namespace nacelle::bench
