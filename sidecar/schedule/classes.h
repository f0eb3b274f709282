// Priority classes that age: the highest class that has work goes first, and a class that waits
// meanwhile earns a share of the time that others compute. When what it has earned covers a typical
// batch of its own, it goes first once. Everything that it computes is paid for out of that, also
// when nobody else waited, but it never owes more than a few batches. So a class with work gets at
// least its share of the device whatever the classes above it want, takes it from gaps where there
// are any, and no clock is involved.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sidecar/base/time.h"

namespace nacelle::sidecar {

inline constexpr std::size_t kPriorityClasses = 4;  // 0 is the highest

class Classes {
 public:
  // Of the classes whose bits are set, at least one, the one that goes next.
  [[nodiscard]] std::size_t pick(std::uint32_t waiting) const;
  // The class has computed for `time` while those of `waiting`, its own included, had work.
  void ran(std::size_t which, std::uint32_t waiting, base::Nanos time);

  // The most that a class owes, in typical batches of its own.
  static constexpr double kDebtMax = 8;
  // Of others' time, what a class earns that waits. Low: 1/16 of it is 1/17 of the device, 5.9 %.
  static constexpr std::array<double, kPriorityClasses> kEarns = {1, 1.0 / 4, 1.0 / 16, 1.0 / 64};

 private:
  std::array<double, kPriorityClasses> earned_ns_{};
  std::array<double, kPriorityClasses> typical_ns_{};  // what a batch of it costs, smoothed
};

}  // namespace nacelle::sidecar
