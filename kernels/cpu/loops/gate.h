// Gate: one pass over the rows.
#pragma once

#include "kernels/cpu/loops/math.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

template <class V>
void gate(const Gate& op, std::size_t row_begin, std::size_t row_end) {
  const std::size_t width = op.width;
  for (std::size_t r = row_begin; r < row_end; ++r) {
    const float* in = op.in + r * 2 * width;
    const float* by = in + width;
    float* out = op.out + r * width;
    std::size_t i = 0;
    for (; i + V::kLanes <= width; i += V::kLanes) {
      V::store(out + i, V::mul(activate<V>(op.activation, V::load(in + i)), V::load(by + i)));
    }
    if (i == width) continue;
    const std::size_t n = width - i;
    const auto y = activate<V>(op.activation, V::load_first(in + i, n));
    V::store_first(out + i, V::mul(y, V::load_first(by + i, n)), n);
  }
}

}  // namespace nacelle::kernels::cpu
