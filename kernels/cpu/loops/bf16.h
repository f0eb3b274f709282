// A step of a bf16 product for any vector type: two inputs, made floats again, two FMAs.
//
// A pair of weights is one 32-bit lane: its upper half is a float already, its lower half is one
// after a shift. Rows are made floats once a block, not once a panel.
#pragma once

#include "kernels/cpu/loops/dot.h"

namespace nacelle::kernels::cpu {

// P has Vector, kTileRows, kTileVectors and even(p), odd(p): a vector of pairs as floats.
template <class P>
struct WidenedBf16 {
  using Vector = typename P::Vector;
  using Register = typename Vector::Register;
  using Sum = float;
  using Sums = Register;
  using Weights = Register;
  using Row = Register;
  static constexpr unsigned kTileRows = P::kTileRows;
  static constexpr unsigned kTileVectors = P::kTileVectors;
  static constexpr std::size_t kInputs = 2;
  static constexpr unsigned kPhases = 2;  // one at a time: 16 registers hold no more
  static constexpr std::size_t kRowBytes = 8;
  static constexpr std::size_t kWeightBytes = std::size_t{4} * Vector::kLanes;
  static constexpr bool kInPlace = false;

  static Sums zero() { return Vector::zero(); }
  static Weights load(const char* p, unsigned phase) { return phase == 0 ? P::even(p) : P::odd(p); }
  static Row repeat(const char* p, unsigned phase) {
    return Vector::set1(static_cast<const float*>(static_cast<const void*>(p))[phase]);
  }
  static Sums dot(Sums sums, Row row, Weights w) { return Vector::fma(row, w, sums); }
  static void store(Sum* p, Sums sums) { Vector::store(p, sums); }
  static void prepare(const char* in, std::size_t inputs, char* to, std::size_t steps) {
    auto* floats = static_cast<float*>(static_cast<void*>(to));
    std::size_t k = 0;
    for (; k + Vector::kLanes <= inputs; k += Vector::kLanes) {
      Vector::store(floats + k, Vector::load_bf16(in + 2 * k));
    }
    if (k < inputs) {
      Vector::store_first(floats + k, Vector::load_bf16_first(in + 2 * k, inputs - k), inputs - k);
    }
    if (inputs < 2 * steps) floats[inputs] = 0.0F;
  }
  static std::int32_t less(const char*, std::size_t) { return 0; }
};

}  // namespace nacelle::kernels::cpu
