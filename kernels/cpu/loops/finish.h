// The end of a linear layer's tile, while its sums are still in the first-level cache:
//
//   out = activation(sum [* row scale * column scale] + bias) + residual
#pragma once

#include "kernels/cpu/loops/math.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

template <class V>
[[gnu::always_inline]] inline void store_row(const RowsOut& out, std::size_t at,
                                             typename V::Register y, std::size_t n) {
  if (out.type == ElementType::kBF16) {
    auto* to = static_cast<std::uint16_t*>(out.data) + at;
    if (n >= V::kLanes) {
      V::store_bf16(to, y);
    } else {
      V::store_bf16_first(to, y, n);
    }
  } else {
    auto* to = static_cast<float*>(out.data) + at;
    if (n >= V::kLanes) {
      V::store(to, y);
    } else {
      V::store_first(to, y, n);
    }
  }
}

// Rows [row, row + rows), columns [column, column + columns). `sums` are floats, or integers from
// which less[r] is taken; their rows have at least `columns` of them, sums_stride apart.
template <class V, class Sum>
void finish_tile(const LinearBlock& op, const Sum* sums, std::size_t sums_stride,
                 const std::int32_t* less, std::size_t row, std::size_t rows, std::size_t column,
                 std::size_t columns) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = (row + r) * op.outputs + column;
    const std::int32_t row_less = less == nullptr ? 0 : less[r];
    const auto row_scale = V::set1(op.in.scales == nullptr ? 1.0F : op.in.scales[row + r]);
    for (std::size_t j = 0; j < columns; j += V::kLanes) {
      const std::size_t n = columns - j;
      const auto bias = V::load(op.bias + column + j);
      auto y = V::load_sums(sums + r * sums_stride + j, row_less);
      if (op.scales != nullptr) {
        y = V::fma(V::mul(y, row_scale), V::load(op.scales + column + j), bias);
      } else {
        y = V::add(y, bias);
      }
      y = activate<V>(op.activation, y);
      if (op.residual != nullptr) {
        const float* residual = op.residual + at + j;
        y = V::add(y, n >= V::kLanes ? V::load(residual) : V::load_first(residual, n));
      }
      store_row<V>(op.out, at + j, y, n);
    }
  }
}

}  // namespace nacelle::kernels::cpu
