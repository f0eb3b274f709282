// Linear layers in bf16 and int8: tiles of dot products over short groups of inputs.
//
// D says what a step is: a struct of internal linkage with
//
//   Vector                          the float vectors of the epilogue
//   Sum, Sums                       a sum's type, and a register of kLanes of them
//   Weights, Row                    registers: a step of kLanes columns; a step of one row,
//   repeated kTileRows, kTileVectors kInputs                         inputs in a step kPhases parts
//   of a step that are loaded one after the other kRowBytes, kWeightBytes         bytes of a step:
//   of one row; of kLanes columns zero() load(p, phase) repeat(p, phase) dot(sums, row, weights)
//   store(p, sums) kInPlace                        rows whose inputs are whole steps are read where
//   they are prepare(in, inputs, to, steps)  one row into its steps, zeros behind the last input
//   less(row, steps)                what is taken from each sum of a prepared row (integers)
//
// A sum is one chain over rising inputs, whatever tile it sits in.
#pragma once

#include "kernels/cpu/loops/finish.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// Prepared rows: in the scratch, or where they were.
struct PreparedRows {
  const char* data;
  std::size_t stride;  // bytes
};

template <class D>
constexpr std::size_t steps_of(std::size_t inputs) {
  return (inputs + D::kInputs - 1) / D::kInputs;
}

// Bytes of a row in the scratch: whole cache lines, and one more, so that rows of a power of 2 do
// not all fall into the same sets of the cache.
template <class D>
constexpr std::size_t prepared_stride(std::size_t inputs) {
  return (steps_of<D>(inputs) * D::kRowBytes + 63) / 64 * 64 + 64;
}

// Bytes for one number a row, at the scratch's beginning. A template only to stay in its file.
template <class D>
constexpr std::size_t less_size(std::size_t rows) {
  return (rows * 4 + 63) / 64 * 64;
}

template <class D>
std::size_t dot_scratch(std::size_t rows, std::size_t inputs) {
  return less_size<D>(rows) + rows * prepared_stride<D>(inputs);
}

template <class D>
PreparedRows prepare_rows(const LinearBlock& op, std::int32_t* less) {
  const std::size_t rows = op.row_end - op.row_begin;
  const std::size_t row_size = op.inputs * element_size(op.in.type);
  const std::size_t steps = steps_of<D>(op.inputs);
  const char* in = static_cast<const char*>(op.in.data) + op.row_begin * row_size;
  PreparedRows prepared{in, row_size};
  if (!D::kInPlace || op.inputs % D::kInputs != 0) {
    char* to = static_cast<char*>(op.scratch) + less_size<D>(rows);
    prepared = {to, prepared_stride<D>(op.inputs)};
    for (std::size_t r = 0; r < rows; ++r) {
      D::prepare(in + r * row_size, op.inputs, to + r * prepared.stride, steps);
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    less[r] = D::less(prepared.data + r * prepared.stride, steps);
  }
  return prepared;
}

// What a tile multiplies: rows of `steps` steps, and a panel whose steps are weights_stride bytes
// apart. `soon` is memory that is wanted soon, or nullptr: a full tile fetches a line of it a step.
// The rows of `to` are to_stride sums apart.
template <class D>
struct DotOperands {
  PreparedRows rows;
  const char* weights;
  std::size_t weights_stride;
  std::size_t steps;
  const char* soon;
  typename D::Sum* to;
  std::size_t to_stride;
};

template <class D, unsigned kRows, unsigned kVectors, bool kFetch = false>
void dot_tile(const DotOperands<D>& op) {
  constexpr std::size_t kLanes = D::Vector::kLanes;
  typename D::Sums sums[kRows][kVectors];
#pragma GCC unroll 16
  for (unsigned r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) sums[r][v] = D::zero();
  }
  const char* row = op.rows.data;
  const std::size_t row_stride = op.rows.stride;
  const char* weights = op.weights;
  const std::size_t weights_stride = op.weights_stride;
  const std::size_t steps = op.steps;
  const char* soon = op.soon;
  for (std::size_t step = 0; step < steps; ++step) {
    if constexpr (kFetch) {
      __builtin_prefetch(soon, 0, 2);  // into the second level; never a fault
      soon += 64;
    }
#pragma GCC unroll 2
    for (unsigned phase = 0; phase < D::kPhases; ++phase) {
      typename D::Weights w[kVectors];
#pragma GCC unroll 16
      for (unsigned v = 0; v < kVectors; ++v) w[v] = D::load(weights + v * D::kWeightBytes, phase);
#pragma GCC unroll 16
      for (unsigned r = 0; r < kRows; ++r) {
        const auto x = D::repeat(row + r * row_stride, phase);
#pragma GCC unroll 16
        for (unsigned v = 0; v < kVectors; ++v) {
          sums[r][v] = D::dot(sums[r][v], x, w[v]);
          // The compiler may not mix the phases: then both would need registers at once.
          if constexpr (D::kPhases > 1) asm("" : "+v"(sums[r][v]));
        }
      }
    }
    row += D::kRowBytes;
    weights += weights_stride;
  }
#pragma GCC unroll 16
  for (unsigned r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) {
      D::store(op.to + r * op.to_stride + v * kLanes, sums[r][v]);
    }
  }
}

// dot_tile<D, rows, vectors> for numbers known at run time.
template <class D, unsigned kRows = D::kTileRows>
void run_dot_tile(std::size_t rows, std::size_t vectors, const DotOperands<D>& op) {
  if constexpr (kRows == D::kTileRows) {
    if (op.soon != nullptr && rows == kRows && vectors == D::kTileVectors) {
      return dot_tile<D, kRows, D::kTileVectors, true>(op);
    }
  }
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_dot_tile<D, kRows - 1>(rows, vectors, op);
  }
  if (vectors == 1) return dot_tile<D, kRows, 1>(op);
  if constexpr (D::kTileVectors > 2) {
    if (vectors == 3) return dot_tile<D, kRows, 3>(op);
  }
  return dot_tile<D, kRows, 2>(op);
}

template <class D>
void linear_dot(const LinearBlock& op) {
  constexpr std::size_t kLanes = D::Vector::kLanes;
  constexpr std::size_t kWidth = D::kTileVectors * kLanes;
  alignas(64) typename D::Sum sums[D::kTileRows * kWidth];
  auto* less = static_cast<std::int32_t*>(op.scratch);
  const PreparedRows prepared = prepare_rows<D>(op, less);
  const std::size_t steps = steps_of<D>(op.inputs);
  const std::size_t rows_all = op.row_end - op.row_begin;

  for (std::size_t p = op.panel_begin; p < op.panel_end; ++p) {
    const std::size_t column = p * kWidth;
    const std::size_t left = op.outputs - column;
    const std::size_t columns = left < kWidth ? left : kWidth;
    const std::size_t vectors = (columns + kLanes - 1) / kLanes;
    const std::size_t stride = vectors * D::kWeightBytes;
    const char* panel =
        static_cast<const char*>(op.panels) + p * D::kTileVectors * D::kWeightBytes * steps;
    // Each full tile fetches a line of the next panel in each of its steps, until all of it is
    // there.
    const char* soon = panel + stride * steps;
    const char* soon_end = p + 1 < op.panel_end ? soon + stride * steps : soon;

    for (std::size_t r = 0; r < rows_all; r += D::kTileRows) {
      const std::size_t rows_left = rows_all - r;
      const std::size_t rows = rows_left < D::kTileRows ? rows_left : D::kTileRows;
      run_dot_tile<D>(rows, vectors,
                      {.rows = {prepared.data + r * prepared.stride, prepared.stride},
                       .weights = panel,
                       .weights_stride = stride,
                       .steps = steps,
                       .soon = soon < soon_end ? soon : nullptr,
                       .to = sums,
                       .to_stride = kWidth});
      soon += 64 * steps;
      finish_tile<typename D::Vector>(op, sums, kWidth, less + r, op.row_begin + r, rows, column,
                                      columns);
    }
  }
}

template <class D>
constexpr LinearKernel dot_kernel(const char* layout, LinearFormat format, bool offset,
                                  std::uint32_t block_rows, std::uint32_t products_per_ns) {
  return {.layout = {.name = layout,
                     .format = format,
                     .panel = D::kTileVectors * D::Vector::kLanes,
                     .lanes = D::Vector::kLanes,
                     .group = D::kInputs,
                     .depth = D::kInputs,
                     .offset = offset},
          .tile_rows = D::kTileRows,
          .block_rows = block_rows,
          .products_per_ns = products_per_ns,
          .scratch = dot_scratch<D>,
          .run = linear_dot<D>};
}

}  // namespace nacelle::kernels::cpu
