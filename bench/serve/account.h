// From records to numbers: what a load came to.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "bench/serve/load.h"

namespace nacelle::bench::serve {

inline constexpr base::Nanos kBucket = 10 * base::kMillisecond;

// The smallest value that at least `share` of them do not exceed; 0 of none. Sorts.
base::Nanos percentile(std::vector<base::Nanos>& values, double share);

// Answers of kOk by when they came, a bucket of kBucket each, from the start of the load to the end
// of its last phase.
std::vector<std::uint32_t> goodput(const Load& load, std::span<const Record> records);

// How long after `begin` it took until requests were answered as before: of those that were due
// from then on and before `end`, at most 1 in 100 took longer than `limit` or was not kOk (what we
// gave up does not count). Less than 0: never, or nobody asked.
base::Nanos settled_after(std::span<const Record> records, base::Nanos begin, base::Nanos end,
                          base::Nanos limit);

// The report, as JSON: {
//   "submitted": the sum of these: "ok", "busy", "deadline", "cancelled", "failed", "lost"
//   "busy_without_hint"           kBusy that named no time to come back
//   "retry_after_us": [min, max]  of those that named one
//   "phases": [{the same counts, of requests due in the phase
//      "seconds", "offered_per_s"
//      "ok_per_s"                 answers that came during the phase
//      "p50_us" "p99_us" "p999_us" "max_us"     kOk, from when it was due to the answer
//      "busy_p50_us" "busy_p99_us" "busy_max_us"  kBusy, from when it was sent
//      "late_p99_us" "late_max_us"     the generator's own delay: sent after it was due
//      "settled_ms"               settled_after() the phase's begin, with twice the first phase's
//                                 p99 as the limit; null: never }]
//   "ok_10ms": goodput() }
nlohmann::json report(const Load& load, std::span<const Record> records);

}  // namespace nacelle::bench::serve
