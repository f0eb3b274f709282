// Linear layers on AMX: 2 x 2 tiles of sums, 32 rows by 32 columns.
//
//   tiles 0 1   sums of rows 0-15     4   rows 0-15      6 7   weights of columns 0-15, 16-31
//   tiles 2 3   sums of rows 16-31    5   rows 16-31
//
// A step is 64 bytes of each row. Per step four tiles are loaded and four multiplied: the least
// that eight tile registers allow. A row's sums are one chain of steps; which other rows share the
// tiles changes nothing.
#pragma once

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/loops/dot.h"

namespace nacelle::kernels::cpu {

inline constexpr std::size_t kTileRowsMax = 16;
inline constexpr std::size_t kTileBytes = 64;

// The parts of a step that loops/dot.h asks for, of an element of kSize bytes.
template <class T, class V, class S, std::size_t kSize>
struct AmxStep {
  using Tiles = T;
  using Vector = V;
  using Sum = S;
  static constexpr std::size_t kInputs = kTileBytes / kSize;
  static constexpr std::size_t kRowBytes = kTileBytes;
  static constexpr bool kInPlace = true;
  static void prepare(const char* in, std::size_t inputs, char* to, std::size_t steps) {
    __builtin_memcpy(to, in, inputs * kSize);
    __builtin_memset(to + inputs * kSize, 0, steps * kTileBytes - inputs * kSize);
  }
  static std::int32_t less(const char*, std::size_t) { return 0; }
};

template <class T, class V>
struct AmxInt8 : AmxStep<T, V, std::int32_t, 1> {
  template <int kSums, int kA, int kB>
  static void dot() {
    T::template dot_int8<kSums, kA, kB>();
  }
};

template <class T, class V>
struct AmxBf16 : AmxStep<T, V, float, 2> {
  template <int kSums, int kA, int kB>
  static void dot() {
    T::template dot_bf16<kSums, kA, kB>();
  }
};

// Tiles for `rows` rows, at most 32; their registers become 0.
template <class A>
void configure_tiles(std::size_t rows) {
  TileConfig config;
  const std::size_t upper = rows < kTileRowsMax ? rows : kTileRowsMax;
  const std::size_t lower = rows - upper;
  for (std::size_t tile = 0; tile < 8; ++tile) {
    const bool weights = tile >= 6;
    const bool is_lower = tile == 2 || tile == 3 || tile == 5;
    const std::size_t tile_rows = weights ? kTileRowsMax : is_lower ? lower : upper;
    config.rows[tile] = static_cast<std::uint8_t>(tile_rows);
    config.row_bytes[tile] = tile_rows == 0 ? 0 : kTileBytes;
  }
  A::Tiles::configure(config);
}

// The sums of one or two tiles' rows and one or two tiles' columns, 32 columns a row at `to`.
template <class A, bool kTwoRows, bool kTwoColumns>
void amx_tile(const PreparedRows& rows, const char* weights, std::size_t steps,
              typename A::Sum* to) {
  using T = typename A::Tiles;
  constexpr std::size_t kStride = (kTwoColumns ? 2 : 1) * kTileBytes;  // of the weights' rows
  const char* lower = rows.data + kTileRowsMax * rows.stride;
  T::template zero<0>();
  if constexpr (kTwoColumns) T::template zero<1>();
  if constexpr (kTwoRows) T::template zero<2>();
  if constexpr (kTwoRows && kTwoColumns) T::template zero<3>();
  for (std::size_t step = 0; step < steps; ++step) {
    const char* w = weights + step * kTileRowsMax * kStride;
    T::template load<6>(w, kStride);
    T::template load_once<4>(rows.data + step * kTileBytes, rows.stride);
    A::template dot<0, 4, 6>();
    if constexpr (kTwoColumns) {
      T::template load<7>(w + kTileBytes, kStride);
      A::template dot<1, 4, 7>();
    }
    if constexpr (kTwoRows) {
      T::template load_once<5>(lower + step * kTileBytes, rows.stride);
      A::template dot<2, 5, 6>();
      if constexpr (kTwoColumns) A::template dot<3, 5, 7>();
    }
  }
  constexpr std::size_t kToStride = 2 * kTileBytes;
  T::template store<0>(to, kToStride);
  if constexpr (kTwoColumns) T::template store<1>(to + 16, kToStride);
  if constexpr (kTwoRows) T::template store<2>(to + 16 * 32, kToStride);
  if constexpr (kTwoRows && kTwoColumns) T::template store<3>(to + 16 * 32 + 16, kToStride);
}

template <class A>
void linear_amx(const LinearBlock& op) {
  constexpr std::size_t kWidth = 32;
  constexpr std::size_t kRows = 2 * kTileRowsMax;
  alignas(64) typename A::Sum sums[kRows * kWidth];
  auto* less = static_cast<std::int32_t*>(op.scratch);
  const PreparedRows prepared = prepare_rows<A>(op, less);
  const std::size_t steps = steps_of<A>(op.inputs);
  const std::size_t rows_all = op.row_end - op.row_begin;

  std::size_t configured = 0;
  for (std::size_t p = op.panel_begin; p < op.panel_end; ++p) {
    const std::size_t column = p * kWidth;
    const std::size_t left = op.outputs - column;
    const std::size_t columns = left < kWidth ? left : kWidth;
    const char* panel =
        static_cast<const char*>(op.panels) + p * steps * kTileRowsMax * 2 * kTileBytes;
    for (std::size_t r = 0; r < rows_all; r += kRows) {
      const std::size_t rows_left = rows_all - r;
      const std::size_t rows = rows_left < kRows ? rows_left : kRows;
      if (rows != configured) configure_tiles<A>(rows);
      configured = rows;
      const PreparedRows from{prepared.data + r * prepared.stride, prepared.stride};
      if (rows > kTileRowsMax && columns > 16) {
        amx_tile<A, true, true>(from, panel, steps, sums);
      } else if (rows > kTileRowsMax) {
        amx_tile<A, true, false>(from, panel, steps, sums);
      } else if (columns > 16) {
        amx_tile<A, false, true>(from, panel, steps, sums);
      } else {
        amx_tile<A, false, false>(from, panel, steps, sums);
      }
      finish_tile<typename A::Vector>(op, sums, kWidth, less + r, op.row_begin + r, rows, column,
                                      columns);
    }
  }
  A::Tiles::release();
}

template <class A>
constexpr LinearKernel amx_kernel(const char* layout, LinearFormat format,
                                  std::uint32_t products_per_ns) {
  return {.layout = {.name = layout,
                     .format = format,
                     .panel = 32,
                     .lanes = 16,
                     .group = static_cast<std::uint32_t>(A::kInputs / 16),
                     .depth = A::kInputs},
          .tile_rows = 2 * kTileRowsMax,
          .block_rows = 128,
          .products_per_ns = products_per_ns,
          .scratch = dot_scratch<A>,
          .run = linear_amx<A>};
}

}  // namespace nacelle::kernels::cpu
