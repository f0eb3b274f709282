// The inner product of everything: a small tile of a matrix product, held in registers.
//
//   c[r][j] = c[r][j] * scale[r] + sum over k of a[r][k] * b[k][j]      or without the first term
//
// Every element is one chain of FMAs over rising k, started at 0 and then added to the scaled c:
// the tile's height decides only which other elements share the registers. That is why a row's
// bytes do not depend on how many rows are computed with it.
#pragma once

#include <cstddef>

namespace nacelle::kernels::cpu {

inline constexpr std::size_t kLineFloats = 16;

struct TileOperands {
  const float* a;  // [rows, count]     rows a_stride floats apart
  std::size_t a_stride;
  const float* b;  // [count, vectors]  rows b_stride floats apart
  std::size_t b_stride;
  std::size_t count;  // how many k
  float* c;           // [rows, vectors]   rows c_stride floats apart
  std::size_t c_stride;
  const float* scale;  // [rows], or nullptr to overwrite c
  // Memory that is wanted soon: a full tile fetches a cache line of it for every k. Or nullptr.
  const float* soon = nullptr;
};

template <class V, unsigned kRows, unsigned kVectors, bool kFetch = false>
void tile(const TileOperands& op) {
  using Register = typename V::Register;
  Register acc[kRows][kVectors];
#pragma GCC unroll 16
  for (unsigned r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) acc[r][v] = V::zero();
  }

  const float* a[kRows];
#pragma GCC unroll 16
  for (unsigned r = 0; r < kRows; ++r) a[r] = op.a + r * op.a_stride;
  const float* b = op.b;
  const std::size_t b_stride = op.b_stride;
  const std::size_t count = op.count;
  const float* soon = op.soon;
  for (std::size_t k = 0; k < count; ++k) {
    if constexpr (kFetch) {
      __builtin_prefetch(soon, 0, 2);  // into the second level; never a fault
      soon += kLineFloats;
    }
    Register weights[kVectors];
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) weights[v] = V::load(b + v * V::kLanes);
#pragma GCC unroll 16
    for (unsigned r = 0; r < kRows; ++r) {
      const Register x = V::set1(a[r][k]);
#pragma GCC unroll 16
      for (unsigned v = 0; v < kVectors; ++v) acc[r][v] = V::fma(x, weights[v], acc[r][v]);
    }
    b += b_stride;
  }

#pragma GCC unroll 16
  for (unsigned r = 0; r < kRows; ++r) {
    float* c = op.c + r * op.c_stride;
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) {
      Register y = acc[r][v];
      if (op.scale != nullptr) y = V::fma(V::load(c + v * V::kLanes), V::set1(op.scale[r]), y);
      V::store(c + v * V::kLanes, y);
    }
  }
}

// One row and kPanels panels side by side, panel_size floats apart: c = a b for each, the columns
// of c behind each other. A single row waits for memory, and several streams fetch faster than one.
template <class V, unsigned kPanels>
void single_row(const float* a, const float* b, std::size_t panel_size, std::size_t count, float* c,
                bool add) {
  constexpr unsigned kVectors = V::kTileVectors;
  constexpr std::size_t kWidth = kVectors * V::kLanes;
  typename V::Register acc[kPanels][kVectors];
#pragma GCC unroll 16
  for (unsigned p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) acc[p][v] = V::zero();
  }
  for (std::size_t k = 0; k < count; ++k) {
    const auto x = V::set1(a[k]);
#pragma GCC unroll 16
    for (unsigned p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
      for (unsigned v = 0; v < kVectors; ++v) {
        acc[p][v] = V::fma(x, V::load(b + p * panel_size + v * V::kLanes), acc[p][v]);
      }
    }
    b += kWidth;
  }
#pragma GCC unroll 16
  for (unsigned p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) {
      float* to = c + p * kWidth + v * V::kLanes;
      V::store(to, add ? V::add(V::load(to), acc[p][v]) : acc[p][v]);
    }
  }
}

// tile<V, rows, vectors> for numbers known at run time, both at least 1 and at most the target's.
template <class V, unsigned kRows = V::kTileRows>
void run_tile(std::size_t rows, std::size_t vectors, const TileOperands& op) {
  if constexpr (kRows == V::kTileRows) {
    if (op.soon != nullptr && rows == kRows && vectors == V::kTileVectors) {
      return tile<V, kRows, V::kTileVectors, true>(op);
    }
  }
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_tile<V, kRows - 1>(rows, vectors, op);
  }
  if (vectors == 1) return tile<V, kRows, 1>(op);
  if constexpr (V::kTileVectors > 2) {
    if (vectors == 3) return tile<V, kRows, 3>(op);
  }
  return tile<V, kRows, 2>(op);
}

}  // namespace nacelle::kernels::cpu
