// Linear on one block: tiles over the panels, then bias, activation and residual while the tile is
// still in the first-level cache.
//
// Sums are cut into chains of kChain products, which are then added: the rounding error grows with
// kChain + K / kChain instead of K. The cut depends on K alone.
#pragma once

#include "kernels/cpu/loops/math.h"
#include "kernels/cpu/loops/tile.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

inline constexpr std::size_t kChain = 256;

// Rows [row, row + rows), columns [column, column + columns): out = activation(sums + bias) +
// residual. `sums` is [rows, tile width].
template <class V>
void finish_tile(const LinearBlock& op, const float* sums, std::size_t row, std::size_t rows,
                 std::size_t column, std::size_t columns) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = (row + r) * op.outputs + column;
    for (std::size_t j = 0; j < columns; j += V::kLanes) {
      const std::size_t n = columns - j;
      const bool whole = n >= V::kLanes;
      auto y = V::add(V::load(sums + r * kWidth + j), V::load(op.bias + column + j));
      if (op.activation == Activation::kGelu) y = gelu<V>(y);
      if (op.activation == Activation::kTanh) y = tanh<V>(y);
      if (op.residual != nullptr) {
        const float* residual = op.residual + at + j;
        y = V::add(y, whole ? V::load(residual) : V::load_first(residual, n));
      }
      if (whole) {
        V::store(op.out + at + j, y);
      } else {
        V::store_first(op.out + at + j, y, n);
      }
    }
  }
}

template <class V>
void linear(const LinearBlock& op) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  alignas(64) float sums[V::kTileRows * kWidth];
  float ones[V::kTileRows];
  for (float& one : ones) one = 1.0F;

  for (std::size_t p = op.panel_begin; p < op.panel_end; ++p) {
    const std::size_t column = p * kWidth;
    const std::size_t left = op.outputs - column;
    const std::size_t columns = left < kWidth ? left : kWidth;
    const std::size_t vectors = (columns + V::kLanes - 1) / V::kLanes;
    const float* panel = op.panels + column * op.inputs;
    for (std::size_t row = op.row_begin; row < op.row_end; row += V::kTileRows) {
      const std::size_t rows_left = op.row_end - row;
      const std::size_t rows = rows_left < V::kTileRows ? rows_left : V::kTileRows;
      for (std::size_t k = 0; k < op.inputs; k += kChain) {
        const std::size_t k_left = op.inputs - k;
        run_tile<V>(rows, vectors,
                    {.a = op.in + row * op.inputs + k,
                     .a_stride = op.inputs,
                     .b = panel + k * vectors * V::kLanes,
                     .b_stride = vectors * V::kLanes,
                     .count = k_left < kChain ? k_left : kChain,
                     .c = sums,
                     .c_stride = kWidth,
                     .scale = k == 0 ? nullptr : ones});
      }
      finish_tile<V>(op, sums, row, rows, column, columns);
    }
  }
}

}  // namespace nacelle::kernels::cpu
