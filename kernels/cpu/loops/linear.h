// Linear in floats on one block: tiles over the panels, then bias, activation and residual while
// the tile is still in the first-level cache.
//
// Sums are cut into chains of kChain products, which are then added: the rounding error grows with
// kChain + K / kChain instead of K. The cut depends on K alone.
#pragma once

#include "kernels/cpu/loops/finish.h"
#include "kernels/cpu/loops/tile.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

inline constexpr std::size_t kChain = 256;

// With more rows than this, kLinearDepth inputs are taken at a time (target.h). Fewer rows stay in
// the cache however deep they are.
inline constexpr std::size_t kShallowRows = 24;

// Weights of a layer that survive in the second-level cache from one block of rows to the next.
inline constexpr std::size_t kCachedMax = std::size_t{256} * 1024;

// Moves the tile's sums between `sums` and the columns of the output, where they wait for the next
// kLinearDepth inputs.
template <class V>
void keep_sums(const LinearBlock& op, float* sums, std::size_t row, std::size_t rows,
               std::size_t column, std::size_t columns, bool back) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t j = 0; j < columns; j += V::kLanes) {
      const std::size_t n = columns - j < V::kLanes ? columns - j : V::kLanes;
      float* out = static_cast<float*>(op.out.data) + (row + r) * op.outputs + column + j;
      float* sum = sums + r * kWidth + j;
      if (back) {
        V::store(sum, n == V::kLanes ? V::load(out) : V::load_first(out, n));
      } else if (n == V::kLanes) {
        V::store(out, V::load(sum));
      } else {
        V::store_first(out, V::load(sum), n);
      }
    }
  }
}

// A single row over full panels, kPanels at a time; returns the first panel that is left. The
// chains are those of the tile, so the bytes are too.
template <class V, unsigned kPanels>
std::size_t linear_row(const LinearBlock& op, std::size_t panel_begin) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  alignas(64) float sums[kPanels * kWidth];
  const auto* in = static_cast<const float*>(op.in.data);
  const auto* panels = static_cast<const float*>(op.panels);
  std::size_t p = panel_begin;
  for (; p + kPanels <= op.panel_end && (p + kPanels) * kWidth <= op.outputs; p += kPanels) {
    for (std::size_t k = 0; k < op.inputs; k += kChain) {
      const std::size_t count = op.inputs - k < kChain ? op.inputs - k : kChain;
      single_row<V, kPanels>(in + op.row_begin * op.inputs + k,
                             panels + p * kWidth * op.inputs + k * kWidth, kWidth * op.inputs,
                             count, sums, k != 0);
    }
    finish_tile<V>(op, sums, kPanels * kWidth, nullptr, op.row_begin, 1, p * kWidth,
                   kPanels * kWidth);
  }
  return p;
}

template <class V>
void linear(const LinearBlock& op) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  alignas(64) float sums[V::kTileRows * kWidth];
  float ones[V::kTileRows];
  for (float& one : ones) one = 1.0F;

  const std::size_t all_rows = op.row_end - op.row_begin;
  std::size_t panel_begin = op.panel_begin;
  if (all_rows == 1) panel_begin = linear_row<V, 4>(op, panel_begin);
  const std::size_t tiles = (all_rows + V::kTileRows - 1) / V::kTileRows;
  static_assert(kLinearDepth % kChain == 0, "whole chains, so that no result depends on the depth");
  const std::size_t depth = all_rows <= kShallowRows ? op.inputs : kLinearDepth;
  for (std::size_t begin = 0; begin < op.inputs; begin += depth) {
    const std::size_t end = op.inputs - begin < depth ? op.inputs : begin + depth;
    for (std::size_t p = panel_begin; p < op.panel_end; ++p) {
      const std::size_t column = p * kWidth;
      const std::size_t left = op.outputs - column;
      const std::size_t columns = left < kWidth ? left : kWidth;
      const std::size_t vectors = (columns + V::kLanes - 1) / V::kLanes;
      const std::size_t stride = vectors * V::kLanes;
      const float* panel = static_cast<const float*>(op.panels) + column * op.inputs;
      // The first tiles fetch the next panel. With fewer tiles the hardware's own fetching of the
      // current panel is busy enough, and a small layer is in the cache anyway.
      constexpr std::size_t kFetchers = kWidth / kLineFloats;
      const bool fetch = tiles > kFetchers && p + 1 < op.panel_end &&
                         (p + 2) * kWidth <= op.outputs && op.inputs * op.outputs > kCachedMax;
      const float* soon = panel + kWidth * (op.inputs + begin);
      const float* soon_end = panel + kWidth * (op.inputs + end);

      for (std::size_t row = op.row_begin; row < op.row_end; row += V::kTileRows) {
        const std::size_t rows_left = op.row_end - row;
        const std::size_t rows = rows_left < V::kTileRows ? rows_left : V::kTileRows;
        if (begin != 0) keep_sums<V>(op, sums, row, rows, column, columns, true);
        for (std::size_t k = begin; k < end; k += kChain) {
          const std::size_t count = end - k < kChain ? end - k : kChain;
          run_tile<V>(rows, vectors,
                      {.a = static_cast<const float*>(op.in.data) + row * op.inputs + k,
                       .a_stride = op.inputs,
                       .b = panel + k * stride,
                       .b_stride = stride,
                       .count = count,
                       .c = sums,
                       .c_stride = kWidth,
                       .scale = k == 0 ? nullptr : ones,
                       .soon = fetch && soon < soon_end ? soon : nullptr});
          soon += kLineFloats * count;
        }
        if (end == op.inputs) {
          finish_tile<V>(op, sums, kWidth, nullptr, row, rows, column, columns);
        } else {
          keep_sums<V>(op, sums, row, rows, column, columns, false);
        }
      }
    }
  }
}

}  // namespace nacelle::kernels::cpu
