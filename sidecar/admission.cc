#include "sidecar/admission.h"

#include <algorithm>
#include <cmath>

namespace nacelle::sidecar {
namespace {

// A sample counts for this many periods.
constexpr int kPeriodsMax = 3;

// Whether there is too little now, when there was too little before or not.
bool is_short(bool was, double share, std::uint32_t percent_max, std::uint32_t margin) {
  const double percent = share * 100;
  const double limit = percent_max;
  return percent > limit || (was && percent >= std::max(0.0, limit - margin));
}

std::string percent_text(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

}  // namespace

bool AdmissionGate::observe(const Pressure& pressure, base::Nanos now) {
  const bool before = closed();
  seen_ = pressure;
  seen_at_ = now;
  const std::uint32_t margin = limits_.resume_margin_percent;
  memory_short_ = is_short(memory_short_, pressure.memory, limits_.memory_percent_max, margin);
  cpu_short_ = is_short(cpu_short_, pressure.cpu, limits_.cpu_percent_max, margin);
  return closed() != before;
}

std::optional<base::Error> AdmissionGate::refuses(Priority priority, base::Nanos now) const {
  if (priority != Priority::kLow && priority != Priority::kIdle) return std::nullopt;
  if (!closed() || now - seen_at_ > kPeriodsMax * period()) return std::nullopt;
  return base::Error{base::Code::kBusy,
                     (memory_short_ ? "memory is short" : "the CPU is busy with other processes") +
                         std::string(", and this service's priority is ") +
                         std::string(kPriorityNames[static_cast<std::size_t>(priority)]) + ": " +
                         text()};
}

std::uint32_t AdmissionGate::retry_after_us(base::Nanos now) const {
  const base::Nanos left = std::clamp<base::Nanos>(seen_at_ + period() - now, 0, period());
  return static_cast<std::uint32_t>(left / base::kMicrosecond) + 1000;
}

std::string AdmissionGate::text() const {
  return "memory " + percent_text(seen_.memory) + " (admission.memory_percent_max " +
         std::to_string(limits_.memory_percent_max) + "), CPU " + percent_text(seen_.cpu) +
         " (admission.cpu_percent_max " + std::to_string(limits_.cpu_percent_max) + ")";
}

}  // namespace nacelle::sidecar
