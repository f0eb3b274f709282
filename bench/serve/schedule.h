// When each request is due: made before anything is sent, from a seed alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bench/serve/load.h"
#include "sidecar/base/result.h"

namespace nacelle::bench::serve {

// The texts, of `count` >= 1, that process number `process` asks for, in the order in which it asks
// for them, over and over. No other process has them (unless there are fewer texts than processes):
// no text is under way twice while each process has fewer requests under way than texts. A server
// may compute equal requests once, which is not what a load is to measure.
std::vector<std::uint32_t> texts_of(const Load& load, std::uint32_t process, std::size_t count);

// The arrivals of a process, by due time, for its texts_of(). The same load, process and texts give
// the same arrivals, whatever the server: two servers can be asked the same questions at the same
// moments. Empty for kClosed. kTooLarge when all processes together would have more than
// kRecordsMax.
base::Result<std::vector<Arrival>> make_schedule(const Load& load, std::uint32_t process,
                                                 std::span<const std::uint32_t> texts);

// A record for each arrival, in their order: lost, until somebody knows better.
void write_down(std::span<const Arrival> arrivals, std::span<Record> records);

}  // namespace nacelle::bench::serve
