// Pool: column sums over a sequence's tokens, then one scaling of the row; Normalize is the latter
// alone.
#pragma once

#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// Tokens whose sum stays in one float before it joins the total: keeps the rounding error of a long
// sequence's mean near that of a short one.
inline constexpr std::size_t kPoolChain = 64;

// How the columns of a sequence's tokens [begin, end) become one row: share * the sum of the
// tokens, each taken once or (rising) token i taken i + 1 times.
struct PoolSum {
  std::size_t begin;
  std::size_t end;
  float share;
  bool rising;
};

static inline PoolSum pool_sum(Pooling pooling, std::size_t begin, std::size_t end) {
  const auto n = static_cast<double>(end - begin);
  switch (pooling) {
    case Pooling::kFirst:
      return {begin, begin + 1, 1.0F, false};
    case Pooling::kLast:
      return {end - 1, end, 1.0F, false};
    case Pooling::kMeanSqrt:
      return {begin, end, static_cast<float>(1.0 / __builtin_sqrt(n)), false};
    case Pooling::kWeightedMean:
      return {begin, end, static_cast<float>(2.0 / (n * (n + 1.0))), true};
    case Pooling::kMean:
    case Pooling::kMax:
      break;
  }
  return {begin, end, static_cast<float>(1.0 / n), false};
}

// out[i] = the sum over tokens of hidden[t][column + i], for kGroup whole vectors; or for the first
// n columns of a single one.
template <class V, unsigned kGroup, bool kRising>
void sum_columns(const Pool& op, const PoolSum& sums, std::size_t column, std::size_t n,
                 float* out) {
  const std::size_t begin = sums.begin;
  const std::size_t end = sums.end;
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
      for (unsigned v = 0; v < kGroup; ++v) {
        const auto x = load(row + v * V::kLanes);
        if constexpr (kRising) {
          sum[v] = V::fma(V::set1(static_cast<float>(t - begin + 1)), x, sum[v]);
        } else {
          sum[v] = V::add(sum[v], x);
        }
      }
    }
#pragma GCC unroll 8
    for (unsigned v = 0; v < kGroup; ++v) total[v] = V::add(total[v], sum[v]);
  }
  const auto share = V::set1(sums.share);
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

// The largest of each column, for the first n columns of a vector.
template <class V>
void max_columns(const Pool& op, std::size_t begin, std::size_t end, std::size_t column,
                 std::size_t n, float* out) {
  auto largest = V::load_first(op.hidden + begin * op.width + column, n);
  for (std::size_t t = begin + 1; t < end; ++t) {
    largest = V::max(largest, V::load_first(op.hidden + t * op.width + column, n));
  }
  V::store_first(out, largest, n);
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

template <class V, bool kRising>
void sum_row(const Pool& op, const PoolSum& sums, float* out) {
  constexpr unsigned kGroup = 8;
  constexpr std::size_t kGroupWidth = kGroup * V::kLanes;
  std::size_t column = 0;
  for (; column + kGroupWidth <= op.width; column += kGroupWidth) {
    sum_columns<V, kGroup, kRising>(op, sums, column, kGroupWidth, out + column);
  }
  for (; column < op.width; column += V::kLanes) {
    const std::size_t left = op.width - column;
    sum_columns<V, 1, kRising>(op, sums, column, left < V::kLanes ? left : V::kLanes, out + column);
  }
}

template <class V>
void pool(const Pool& op, std::size_t sequence_begin, std::size_t sequence_end) {
  const std::size_t stride = op.out_stride == 0 ? op.width : op.out_stride;
  for (std::size_t s = sequence_begin; s < sequence_end; ++s) {
    const std::size_t begin = op.offsets[s];
    const std::size_t end = op.offsets[s + 1];
    float* out = op.out + s * stride;
    const PoolSum sums = pool_sum(op.pooling, begin, end);
    if (op.pooling == Pooling::kMax) {
      for (std::size_t column = 0; column < op.width; column += V::kLanes) {
        const std::size_t left = op.width - column;
        max_columns<V>(op, begin, end, column, left < V::kLanes ? left : V::kLanes, out + column);
      }
    } else if (sums.rising) {
      sum_row<V, true>(op, sums, out);
    } else {
      sum_row<V, false>(op, sums, out);
    }
    if (op.normalize) normalize_length<V>(out, op.width);
  }
}

template <class V>
void normalize(const Normalize& op, std::size_t row_begin, std::size_t row_end) {
  for (std::size_t r = row_begin; r < row_end; ++r) {
    normalize_length<V>(op.data + r * op.width, op.width);
  }
}

}  // namespace nacelle::kernels::cpu
