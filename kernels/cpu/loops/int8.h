// A step of an int8 product for machines without an instruction for it: two inputs as 16-bit
// numbers, whose products and their sum are exact in 32 bits. (The instruction over bytes,
// vpmaddubsw, saturates at 16 bits and is of no use for whole int8.)
#pragma once

#include "kernels/cpu/loops/dot.h"

namespace nacelle::kernels::cpu {

// P has Vector, Integers (a register), kTileRows, kTileVectors, zero(), load(p), repeat(p),
// multiply_add(sums, row, weights), store(p, sums) and widen(in, to) for P::kWide codes.
template <class P>
struct WidenedInt8 : P {
  using Sum = std::int32_t;
  using Sums = typename P::Integers;
  using Weights = typename P::Integers;
  using Row = typename P::Integers;
  static constexpr std::size_t kInputs = 2;
  static constexpr unsigned kPhases = 1;
  static constexpr std::size_t kRowBytes = 4;
  static constexpr std::size_t kWeightBytes = std::size_t{2} * P::Vector::kLanes;
  static constexpr bool kInPlace = false;

  static Sums dot(Sums sums, Row row, Weights w) { return P::multiply_add(sums, row, w); }
  static void prepare(const char* in, std::size_t inputs, char* to, std::size_t steps) {
    auto* words = static_cast<std::int16_t*>(static_cast<void*>(to));
    const auto* codes = static_cast<const std::int8_t*>(static_cast<const void*>(in));
    std::size_t k = 0;
    for (; k + P::kWide <= inputs; k += P::kWide) P::widen(codes + k, words + k);
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a code is a number, not a character.
    for (; k < inputs; ++k) words[k] = codes[k];
    if (inputs < 2 * steps) words[inputs] = 0;
  }
  static std::int32_t less(const char*, std::size_t) { return 0; }
};

}  // namespace nacelle::kernels::cpu
