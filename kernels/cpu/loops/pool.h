// Pool: column sums over a sequence's tokens, then one scaling of the row.
#pragma once

#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// Tokens whose sum stays in one float before it joins the total: keeps the rounding error of a long
// sequence's mean near that of a short one.
inline constexpr std::size_t kPoolChain = 64;

// out[i] = mean over tokens [begin, end) of hidden[t][column + i], for kGroup whole vectors; or for
// the first n columns of a single one.
template <class V, unsigned kGroup>
void mean_columns(const Pool& op, std::size_t begin, std::size_t end, std::size_t column,
                  std::size_t n, float* out) {
  using Register = typename V::Register;
  const auto load = [n](const float* p) {
    return kGroup > 1 || n == V::kLanes ? V::load(p) : V::load_first(p, n);
  };
  Register total[kGroup];
#pragma GCC unroll 8
  for (unsigned v = 0; v < kGroup; ++v) total[v] = V::zero();
  for (std::size_t chain = begin; chain < end; chain += kPoolChain) {
    const std::size_t chain_end = end - chain < kPoolChain ? end : chain + kPoolChain;
    Register sum[kGroup];
#pragma GCC unroll 8
    for (unsigned v = 0; v < kGroup; ++v) sum[v] = V::zero();
    for (std::size_t t = chain; t < chain_end; ++t) {
      const float* row = op.hidden + t * op.width + column;
#pragma GCC unroll 8
      for (unsigned v = 0; v < kGroup; ++v) sum[v] = V::add(sum[v], load(row + v * V::kLanes));
    }
#pragma GCC unroll 8
    for (unsigned v = 0; v < kGroup; ++v) total[v] = V::add(total[v], sum[v]);
  }
  const auto share = V::set1(1.0F / static_cast<float>(end - begin));
#pragma GCC unroll 8
  for (unsigned v = 0; v < kGroup; ++v) {
    const auto y = V::mul(total[v], share);
    if (kGroup > 1 || n == V::kLanes) {
      V::store(out + v * V::kLanes, y);
    } else {
      V::store_first(out, y, n);
    }
  }
}

// Scales the row to L2 norm 1. Squares of very large or small rows leave float's range, and those
// of rows with NaN or infinity compare false: they take the slow way, in double, as the reference
// does.
template <class V>
void normalize_length(float* row, std::size_t width) {
  const std::size_t whole = width / V::kLanes * V::kLanes;
  const std::size_t tail = width - whole;
  auto squares = V::zero();
  for (std::size_t i = 0; i < whole; i += V::kLanes) {
    const auto x = V::load(row + i);
    squares = V::fma(x, x, squares);
  }
  if (tail != 0) {
    const auto x = V::load_first(row + whole, tail);
    squares = V::fma(x, x, squares);
  }
  const float sum = V::sum(squares);
  if (sum > 1e-20F && sum < 1e30F) {
    const auto scale = V::set1(1.0F / __builtin_sqrtf(sum));
    for (std::size_t i = 0; i < whole; i += V::kLanes) {
      V::store(row + i, V::mul(V::load(row + i), scale));
    }
    if (tail != 0) {
      V::store_first(row + whole, V::mul(V::load_first(row + whole, tail), scale), tail);
    }
    return;
  }

  double exact = 0;
  for (std::size_t i = 0; i < width; ++i) exact += double{row[i]} * double{row[i]};
  double norm = __builtin_sqrt(exact);
  if (norm < double{kNormMin}) norm = double{kNormMin};
  for (std::size_t i = 0; i < width; ++i) row[i] = static_cast<float>(double{row[i]} / norm);
}

template <class V>
void pool(const Pool& op, std::size_t sequence_begin, std::size_t sequence_end) {
  constexpr unsigned kGroup = 8;
  constexpr std::size_t kGroupWidth = kGroup * V::kLanes;
  for (std::size_t s = sequence_begin; s < sequence_end; ++s) {
    const std::size_t begin = op.offsets[s];
    const std::size_t end = op.pooling == Pooling::kFirst ? begin + 1 : op.offsets[s + 1];
    float* out = op.out + s * op.width;
    std::size_t column = 0;
    for (; column + kGroupWidth <= op.width; column += kGroupWidth) {
      mean_columns<V, kGroup>(op, begin, end, column, kGroupWidth, out + column);
    }
    for (; column < op.width; column += V::kLanes) {
      const std::size_t left = op.width - column;
      mean_columns<V, 1>(op, begin, end, column, left < V::kLanes ? left : V::kLanes, out + column);
    }
    if (op.normalize) normalize_length<V>(out, op.width);
  }
}

}  // namespace nacelle::kernels::cpu
