// Rotary: the pairs of a head are its halves, so whole vectors turn at once.
#pragma once

#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

template <class V>
void turn_head(float* head, const float* cosines, const float* sines, std::size_t half) {
  for (std::size_t d = 0; d < half; d += V::kLanes) {
    const std::size_t n = half - d < V::kLanes ? half - d : V::kLanes;
    const auto a = V::load_first(head + d, n);
    const auto b = V::load_first(head + half + d, n);
    const auto cosine = V::load_first(cosines + d, n);
    const auto sine = V::load_first(sines + d, n);
    V::store_first(head + d, V::sub(V::mul(a, cosine), V::mul(b, sine)), n);
    V::store_first(head + half + d, V::fma(b, cosine, V::mul(a, sine)), n);
  }
}

template <class V>
void rotary(const Rotary& op, std::size_t token_begin, std::size_t token_end) {
  const std::size_t half = op.head_width / 2;
  const std::size_t width = std::size_t{op.heads} * op.head_width;
  std::size_t sequence = 0;
  for (std::size_t t = token_begin; t < token_end; ++t) {
    while (op.offsets[sequence + 1] <= t) ++sequence;
    const std::size_t angle = (t - op.offsets[sequence]) * half;
    float* row = op.qkv + t * 3 * width;
    for (std::size_t h = 0; h < 2 * std::size_t{op.heads}; ++h) {
      turn_head<V>(row + h * op.head_width, op.cosines + angle, op.sines + angle, half);
    }
  }
}

}  // namespace nacelle::kernels::cpu
