// Numbers that depend on the seed alone, on every machine: the library's distributions may differ.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "sidecar/base/time.h"

namespace nacelle::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  // In [0, 1).
  double share() { return static_cast<double>(bits() >> 11U) * 0x1p-53; }
  bool chance(double probability) { return share() < probability; }
  // From `first` to `last`, both included.
  template <typename Number>
  Number from(Number first, Number last) {
    return first + static_cast<Number>(bits() % (static_cast<std::uint64_t>(last - first) + 1));
  }
  // Until the next of events that come so often, at random.
  base::Nanos wait(double per_second) {
    return static_cast<base::Nanos>(-std::log(1 - share()) / per_second * 1e9);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace nacelle::sim
