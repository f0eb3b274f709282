// Whether a batch that is not full should wait for company.
//
// Waiting lets the device stand still. It pays when the next request is expected sooner than a
// batch's fixed cost, which the two then share: until as much is known of arrivals and costs, the
// whole of max_delay is waited; then only while requests keep coming that fast.
#pragma once

#include <cstdint>

#include "sidecar/base/time.h"
#include "sidecar/schedule/cost.h"

namespace nacelle::sidecar {

class Arrivals {
 public:
  void arrived(base::Nanos at);
  [[nodiscard]] bool known() const { return seen_ > kSeenMin; }
  [[nodiscard]] double gap_ns() const { return gap_ns_; }
  [[nodiscard]] base::Nanos last() const { return last_; }

 private:
  static constexpr std::uint32_t kSeenMin = 8;

  std::uint32_t seen_ = 0;  // up to kSeenMin + 1
  double gap_ns_ = 0;       // between two arrivals, smoothed
  base::Nanos last_ = 0;
};

// A batch that waits: its oldest request, and how long that may take.
struct Waiting {
  base::Nanos oldest = 0;          // when it arrived
  std::uint64_t tokens = 0;        // of all that would run together
  base::Nanos max_delay = 0;       // 0: never waits
  base::Nanos latency_target = 0;  // from arrival to answer; 0: none
};

// Until when the batch waits; a time that is not in the future means that it starts.
base::Nanos wait_until(const Waiting& batch, const Arrivals& arrivals, const CostModel& cost);

}  // namespace nacelle::sidecar
