// When each request is due: made before anything is sent, from a seed alone.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "bench/serve/load.h"
#include "sidecar/base/result.h"

namespace nacelle::bench::serve {

// The arrivals of process number `process`, by due time; texts are chosen among `texts` >= 1 ones.
// The same load, process and number of texts give the same arrivals, whatever the server: two
// servers can be asked the same questions at the same moments. Empty for kClosed. kTooLarge when
// all processes together would have more than kRecordsMax.
base::Result<std::vector<Arrival>> make_schedule(const Load& load, std::uint32_t process,
                                                 std::size_t texts);

// A record for each arrival, in their order: lost, until somebody knows better.
void write_down(std::span<const Arrival> arrivals, std::span<Record> records);

}  // namespace nacelle::bench::serve
