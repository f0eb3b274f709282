// Rows in fewer bits, by the rule of kernels/quantize.h: one sweep for the largest number, one for
// the codes.
#pragma once

#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// load(i) gives a whole vector of the row, load_first(i, n) the first n of one with zeros behind.
template <class V, class Load, class LoadFirst>
[[gnu::always_inline]] inline void quantize_row(std::size_t width, Load load, LoadFirst load_first,
                                                std::int8_t* codes, float* scale) {
  constexpr std::size_t kWays = 4;
  typename V::Register largest[kWays] = {V::zero(), V::zero(), V::zero(), V::zero()};
  std::size_t i = 0;
  for (; i + kWays * V::kLanes <= width; i += kWays * V::kLanes) {
#pragma GCC unroll 4
    for (std::size_t way = 0; way < kWays; ++way) {
      largest[way] = V::larger_bits(largest[way], load(i + way * V::kLanes));
    }
  }
  for (; i + V::kLanes <= width; i += V::kLanes) {
    largest[0] = V::larger_bits(largest[0], load(i));
  }
  if (i < width) largest[0] = V::larger_bits(largest[0], load_first(i, width - i));
  const float top = V::largest_bits(V::larger_bits(V::larger_bits(largest[0], largest[1]),
                                                   V::larger_bits(largest[2], largest[3])));

  // A NaN or an infinity is no number to scale by, and !(x <= y) sees a NaN as well.
  const bool poisoned = !(top <= __FLT_MAX__);
  const bool scaled = !poisoned && top >= kQuantizeMin;
  *scale = scaled ? top / kCodeMax : poisoned ? __builtin_nanf("") : 0.0F;
  if (!scaled) {
    __builtin_memset(codes, 0, width);
    return;
  }
  const auto inverse = V::set1(kCodeMax / top);
  for (i = 0; i + V::kLanes <= width; i += V::kLanes) {
    V::store_codes(codes + i, V::mul(load(i), inverse));
  }
  if (i < width) {
    V::store_codes_first(codes + i, V::mul(load_first(i, width - i), inverse), width - i);
  }
}

template <class V>
void narrow_row(const float* in, std::size_t row, std::size_t width, const Narrowed& out) {
  if (out.bf16 != nullptr) {
    std::uint16_t* to = out.bf16 + row * width;
    std::size_t i = 0;
    for (; i + V::kLanes <= width; i += V::kLanes) V::store_bf16(to + i, V::load(in + i));
    if (i < width) V::store_bf16_first(to + i, V::load_first(in + i, width - i), width - i);
  }
  if (out.codes != nullptr) {
    quantize_row<V>(
        width, [in](std::size_t i) { return V::load(in + i); },
        [in](std::size_t i, std::size_t n) { return V::load_first(in + i, n); },
        out.codes + row * width, out.scales + row);
  }
}

template <class V>
void quantize(const Quantize& op, std::size_t row_begin, std::size_t row_end) {
  for (std::size_t row = row_begin; row < row_end; ++row) {
    if (op.in.type == ElementType::kF32) {
      narrow_row<V>(static_cast<const float*>(op.in.data) + row * op.width, row, op.width, op.out);
      continue;
    }
    const auto* in = static_cast<const std::uint16_t*>(op.in.data) + row * op.width;
    if (op.out.bf16 != nullptr)
      __builtin_memcpy(op.out.bf16 + row * op.width, in, std::size_t{op.width} * 2);
    if (op.out.codes != nullptr) {
      quantize_row<V>(
          op.width, [in](std::size_t i) { return V::load_bf16(in + i); },
          [in](std::size_t i, std::size_t n) { return V::load_bf16_first(in + i, n); },
          op.out.codes + row * op.width, op.out.scales + row);
    }
  }
}

}  // namespace nacelle::kernels::cpu
