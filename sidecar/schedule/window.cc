// See window.h.
#include "sidecar/schedule/window.h"

#include <algorithm>

namespace nacelle::sidecar {
namespace {

// A gap counts for at most this, so that a quiet night is forgotten after a few requests.
constexpr double kGapMax = 1e9;
// Of the difference between an observed gap and the smoothed one, how much is believed.
constexpr double kBelieve = 1.0 / 8;
// Gaps without an arrival after which the burst is over.
constexpr double kBurstGaps = 3;

}  // namespace

void Arrivals::arrived(base::Nanos at) {
  if (seen_ > 0) {
    const double gap = std::clamp(static_cast<double>(at - last_), 0.0, kGapMax);
    gap_ns_ = seen_ == 1 ? gap : gap_ns_ + (gap - gap_ns_) * kBelieve;
  }
  last_ = std::max(last_, at);
  seen_ = std::min(seen_ + 1, kSeenMin + 1);
}

base::Nanos wait_until(const Waiting& batch, const Arrivals& arrivals, const CostModel& cost) {
  base::Nanos delay = batch.max_delay;
  if (batch.latency_target > 0) {
    const auto compute = static_cast<base::Nanos>(cost.predict_ns(batch.tokens));
    delay = std::min(delay, std::max<base::Nanos>(batch.latency_target - compute, 0));
  }
  const base::Nanos until = batch.oldest + delay;
  if (!arrivals.known() || !cost.known()) return until;
  if (arrivals.gap_ns() >= cost.fixed_ns()) return batch.oldest;
  const auto burst = static_cast<base::Nanos>(arrivals.gap_ns() * kBurstGaps);
  return std::min(until, arrivals.last() + burst);
}

}  // namespace nacelle::sidecar
