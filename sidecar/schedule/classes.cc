// See classes.h.
#include "sidecar/schedule/classes.h"

#include <algorithm>
#include <bit>

namespace nacelle::sidecar {
namespace {

// Of the difference between a batch's cost and the typical one, how much is believed: one slow
// batch must not make a class wait for long, and then go many times in a row.
constexpr double kBelieve = 1.0 / 8;

}  // namespace

std::size_t Classes::pick(std::uint32_t waiting) const {
  const auto highest = static_cast<std::size_t>(std::countr_zero(waiting));
  for (std::size_t k = highest + 1; k < kPriorityClasses; ++k) {
    if ((waiting >> k & 1U) != 0 && earned_ns_[k] > 0 && earned_ns_[k] >= typical_ns_[k]) return k;
  }
  return highest;
}

void Classes::ran(std::size_t which, std::uint32_t waiting, base::Nanos time) {
  const auto cost = static_cast<double>(time);
  double& typical = typical_ns_[which];
  typical = typical == 0 ? cost : typical + (cost - typical) * kBelieve;
  for (std::size_t k = 0; k < kPriorityClasses; ++k) {
    if (k == which) {
      earned_ns_[k] = std::max(earned_ns_[k] - cost, -kDebtMax * typical);
    } else if ((waiting >> k & 1U) != 0) {
      earned_ns_[k] += cost * kEarns[k];
    } else {
      earned_ns_[k] = std::min(earned_ns_[k], 0.0);  // nobody waits: nothing is earned
    }
  }
}

}  // namespace nacelle::sidecar
