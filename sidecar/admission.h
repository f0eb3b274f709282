// Whether new work of low importance is taken while memory or CPU is short. Not a stage: intake's
// thread asks before a request is queued, and whoever samples the machine tells.
//
// Pure: samples and the time come in as parameters, nothing is read, slept on or locked. Above a
// limit work of the priorities low and idle is refused until memory and CPU have both fallen below
// their limits by the margin, so that a value at the limit does not flap. Samples that stop coming
// refuse nothing: not to know is no reason to turn work away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"
#include "sidecar/config.h"

namespace nacelle::sidecar {

// Shares, 0 to 1.
struct Pressure {
  double memory = 0;                      // in use (base::MemoryUse)
  double cpu = 0;                         // taken by others (base::cpu_share_of_others)
  std::uint64_t free_bytes = UINT64_MAX;  // of memory; no part of admission: batches follow it
};

class AdmissionGate {
 public:
  explicit AdmissionGate(const Config::Admission& limits) : limits_(limits) {}

  // What was seen at `now`. True when this changed what is admitted.
  bool observe(const Pressure& pressure, base::Nanos now);

  // Why a request of that priority is refused, kBusy with the option's name; nothing: it is taken.
  [[nodiscard]] std::optional<base::Error> refuses(Priority priority, base::Nanos now) const;

  // When to come back: after the next sample.
  [[nodiscard]] std::uint32_t retry_after_us(base::Nanos now) const;

  [[nodiscard]] bool closed() const { return memory_short_ || cpu_short_; }
  // "memory 93 % (admission.memory_percent_max 90), CPU 12 % (admission.cpu_percent_max 90)"
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] base::Nanos period() const { return limits_.period_ms * base::kMillisecond; }

  Config::Admission limits_;
  Pressure seen_;
  base::Nanos seen_at_ = 0;
  bool memory_short_ = false;
  bool cpu_short_ = false;
};

}  // namespace nacelle::sidecar
