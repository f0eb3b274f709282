// The ops that work row by row and wait for memory: LayerNorm, and the embedding sum that ends in
// one.
#pragma once

#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// One row; out may be in.
//
// Two passes for the moments. The first mean is a float and off by its rounding; the second pass
// sums what is left (`rest`, the mean of x - mean), which corrects the mean and the variance. So a
// row far from 0 loses no more digits than its own floats have.
template <class V>
void normalize_row(const float* in, const float* gamma, const float* beta, float epsilon,
                   std::size_t width, float* out) {
  const std::size_t whole = width / V::kLanes * V::kLanes;
  const std::size_t tail = width - whole;
  const float count = static_cast<float>(width);

  auto sum = V::zero();
  for (std::size_t i = 0; i < whole; i += V::kLanes) sum = V::add(sum, V::load(in + i));
  if (tail != 0) sum = V::add(sum, V::load_first(in + whole, tail));
  const auto mean = V::set1(V::sum(sum) / count);

  auto rests = V::zero();
  auto squares = V::zero();
  for (std::size_t i = 0; i < whole; i += V::kLanes) {
    const auto d = V::sub(V::load(in + i), mean);
    rests = V::add(rests, d);
    squares = V::fma(d, d, squares);
  }
  if (tail != 0) {
    const auto d = V::keep_first(V::sub(V::load_first(in + whole, tail), mean), tail);
    rests = V::add(rests, d);
    squares = V::fma(d, d, squares);
  }
  const float rest = V::sum(rests) / count;
  const float variance = V::sum(squares) / count - rest * rest;
  const auto scale = V::set1(1.0F / __builtin_sqrtf(variance + epsilon));
  const auto shift = V::set1(rest);

  for (std::size_t i = 0; i < whole; i += V::kLanes) {
    const auto d = V::sub(V::sub(V::load(in + i), mean), shift);
    V::store(out + i, V::fma(V::mul(d, scale), V::load(gamma + i), V::load(beta + i)));
  }
  if (tail != 0) {
    const auto d = V::sub(V::sub(V::load_first(in + whole, tail), mean), shift);
    const auto y = V::fma(V::mul(d, scale), V::load_first(gamma + whole, tail),
                          V::load_first(beta + whole, tail));
    V::store_first(out + whole, y, tail);
  }
}

template <class V>
void layer_norm(const LayerNorm& op, std::size_t row_begin, std::size_t row_end) {
  for (std::size_t r = row_begin; r < row_end; ++r) {
    normalize_row<V>(op.in + r * op.width, op.gamma, op.beta, op.epsilon, op.width,
                     op.out + r * op.width);
  }
}

// Up to a vector of a table's row, as floats: `n` of them when that is less than a vector.
template <class V>
typename V::Register load_elements(const Tensor& table, std::size_t index, std::size_t n) {
  const char* at = static_cast<const char*>(table.data) + index * element_size(table.type);
  const bool whole = n >= V::kLanes;
  switch (table.type) {
    case ElementType::kF32: {
      const auto* floats = static_cast<const float*>(static_cast<const void*>(at));
      return whole ? V::load(floats) : V::load_first(floats, n);
    }
    case ElementType::kF16:
      return whole ? V::load_f16(at) : V::load_f16_first(at, n);
    case ElementType::kBF16:
      return whole ? V::load_bf16(at) : V::load_bf16_first(at, n);
  }
  return V::zero();
}

template <class V>
void embed(const EmbedNorm& op, std::size_t token_begin, std::size_t token_end) {
  std::size_t sequence = 0;
  for (std::size_t t = token_begin; t < token_end; ++t) {
    while (op.offsets[sequence + 1] <= t) ++sequence;
    const std::size_t word = std::size_t{op.ids[t]} * op.width;
    const std::size_t position = (t - op.offsets[sequence]) * op.width;
    const std::size_t type = (op.types == nullptr ? 0 : std::size_t{op.types[t]}) * op.width;
    float* out = op.out + t * op.width;
    for (std::size_t i = 0; i < op.width; i += V::kLanes) {
      const std::size_t n = op.width - i;
      const auto sum = V::add(V::add(load_elements<V>(op.words, word + i, n),
                                     load_elements<V>(op.positions, position + i, n)),
                              load_elements<V>(op.types_table, type + i, n));
      if (n >= V::kLanes) {
        V::store(out + i, sum);
      } else {
        V::store_first(out + i, sum, n);
      }
    }
    normalize_row<V>(out, op.gamma, op.beta, op.epsilon, op.width, out);
  }
}

}  // namespace nacelle::kernels::cpu
