// The ops that work row by row and wait for memory: LayerNorm, and the embedding sum that ends in
// one.
#pragma once

#include "kernels/cpu/loops/quantize.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// The row as vectors: body(i) for each whole one, in kWays interleaved sets so that additions do
// not wait for each other, then tail(i, n) for the rest. body(way, i) adds to the sums of its way.
inline constexpr std::size_t kWays = 4;

template <class V, class Body, class Tail>
[[gnu::always_inline]] inline void over_row(std::size_t width, Body body, Tail tail) {
  std::size_t i = 0;
  for (; i + kWays * V::kLanes <= width; i += kWays * V::kLanes) {
#pragma GCC unroll 4
    for (std::size_t way = 0; way < kWays; ++way) body(way, i + way * V::kLanes);
  }
  for (; i + V::kLanes <= width; i += V::kLanes) body(0, i);
  if (i < width) tail(i, width - i);
}

template <class V>
[[gnu::always_inline]] inline typename V::Register joined(
    const typename V::Register (&ways)[kWays]) {
  return V::add(V::add(ways[0], ways[1]), V::add(ways[2], ways[3]));
}

template <class V>
[[gnu::always_inline]] inline float sum_of_row(const float* in, std::size_t width) {
  typename V::Register sums[kWays] = {V::zero(), V::zero(), V::zero(), V::zero()};
  over_row<V>(
      width,
      [&](std::size_t way, std::size_t i) { sums[way] = V::add(sums[way], V::load(in + i)); },
      [&](std::size_t i, std::size_t n) { sums[0] = V::add(sums[0], V::load_first(in + i, n)); });
  return V::sum(joined<V>(sums));
}

// One row whose sum is known; out may be in.
//
// The mean is a float and off by its rounding; a second pass sums what is left (`rest`, the mean of
// x - mean), which corrects the mean and the variance. So a row far from 0 loses no more digits
// than its own floats have.
template <class V>
[[gnu::always_inline]] inline void normalize_row(const float* in, float sum, const float* gamma,
                                                 const float* beta, float epsilon,
                                                 std::size_t width, float* out) {
  using Register = typename V::Register;
  const float share = 1.0F / static_cast<float>(width);
  const Register mean = V::set1(sum * share);

  Register rests[kWays] = {V::zero(), V::zero(), V::zero(), V::zero()};
  Register squares[kWays] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const auto add_moments = [&](std::size_t way, Register d) {
    rests[way] = V::add(rests[way], d);
    squares[way] = V::fma(d, d, squares[way]);
  };
  over_row<V>(
      width,
      [&](std::size_t way, std::size_t i) { add_moments(way, V::sub(V::load(in + i), mean)); },
      [&](std::size_t i, std::size_t n) {
        const Register d = V::sub(V::load_first(in + i, n), mean);
        add_moments(0, V::first_or(d, n, V::zero()));
      });
  float moments[2];
  V::sums(joined<V>(rests), joined<V>(squares), moments);
  const float rest = moments[0] * share;
  const float variance = moments[1] * share - rest * rest;
  const float scale = 1.0F / __builtin_sqrtf(variance + epsilon);
  const Register scales = V::set1(scale);
  const Register shifts = V::set1(-rest * scale);

  const auto normalized = [&](Register x) { return V::fma(V::sub(x, mean), scales, shifts); };
  over_row<V>(
      width,
      [&](std::size_t, std::size_t i) {
        V::store(out + i,
                 V::fma(normalized(V::load(in + i)), V::load(gamma + i), V::load(beta + i)));
      },
      [&](std::size_t i, std::size_t n) {
        const Register y = V::fma(normalized(V::load_first(in + i, n)), V::load_first(gamma + i, n),
                                  V::load_first(beta + i, n));
        V::store_first(out + i, y, n);
      });
}

template <class V>
void layer_norm(const LayerNorm& op, std::size_t row_begin, std::size_t row_end) {
  for (std::size_t r = row_begin; r < row_end; ++r) {
    const float* in = op.in + r * op.width;
    normalize_row<V>(in, sum_of_row<V>(in, op.width), op.gamma, op.beta, op.epsilon, op.width,
                     op.out + r * op.width);
    narrow_row<V>(op.out + r * op.width, r, op.width, op.narrowed);
  }
}

// A vector of a table, as floats, or the first n of one.
template <class V>
[[gnu::always_inline]] inline typename V::Register load_elements(const Tensor& table,
                                                                 std::size_t index) {
  const char* at = static_cast<const char*>(table.data) + index * element_size(table.type);
  if (table.type == ElementType::kF16) return V::load_f16(at);
  if (table.type == ElementType::kBF16) return V::load_bf16(at);
  return V::load(static_cast<const float*>(static_cast<const void*>(at)));
}
template <class V>
typename V::Register load_elements_first(const Tensor& table, std::size_t index, std::size_t n) {
  const char* at = static_cast<const char*>(table.data) + index * element_size(table.type);
  if (table.type == ElementType::kF16) return V::load_f16_first(at, n);
  if (table.type == ElementType::kBF16) return V::load_bf16_first(at, n);
  return V::load_first(static_cast<const float*>(static_cast<const void*>(at)), n);
}

// out = a row of each table, added up; a row is given by the index of its first element. Returns
// the sum over out, as sum_of_row would.
template <class V>
[[gnu::always_inline]] inline float add_rows(const Tensor& words, std::size_t word,
                                             const Tensor& positions, std::size_t position,
                                             const Tensor& types, std::size_t type, float* out) {
  typename V::Register sums[kWays] = {V::zero(), V::zero(), V::zero(), V::zero()};
  over_row<V>(
      words.columns,
      [&](std::size_t way, std::size_t i) {
        const auto pair =
            V::add(load_elements<V>(words, word + i), load_elements<V>(positions, position + i));
        const auto x = V::add(pair, load_elements<V>(types, type + i));
        sums[way] = V::add(sums[way], x);
        V::store(out + i, x);
      },
      [&](std::size_t i, std::size_t n) {
        const auto pair = V::add(load_elements_first<V>(words, word + i, n),
                                 load_elements_first<V>(positions, position + i, n));
        const auto x = V::add(pair, load_elements_first<V>(types, type + i, n));
        sums[0] = V::add(sums[0], x);
        V::store_first(out + i, x, n);
      });
  return V::sum(joined<V>(sums));
}

template <class V>
void embed(const EmbedNorm& op, std::size_t token_begin, std::size_t token_end) {
  // Copies whose type the compiler knows: in nearly every model all tables are F32 or all are F16,
  // and the loop then has no branch on the type in it.
  const auto with_type = [](Tensor table, ElementType type) {
    table.type = type;
    return table;
  };
  const auto all_are = [&op](ElementType type) {
    return op.words.type == type && op.positions.type == type && op.types_table.type == type;
  };
  const bool all_f32 = all_are(ElementType::kF32);
  const bool all_f16 = all_are(ElementType::kF16);

  std::size_t sequence = 0;
  for (std::size_t t = token_begin; t < token_end; ++t) {
    while (op.offsets[sequence + 1] <= t) ++sequence;
    const std::size_t word = std::size_t{op.ids[t]} * op.width;
    const std::size_t position =
        (op.position_ids == nullptr ? t - op.offsets[sequence] : op.position_ids[t]) *
        std::size_t{op.width};
    const std::size_t type = (op.types == nullptr ? 0 : std::size_t{op.types[t]}) * op.width;
    float* out = op.out + t * op.width;
    float sum = 0;
    if (all_f32) {
      constexpr ElementType kType = ElementType::kF32;
      sum = add_rows<V>(with_type(op.words, kType), word, with_type(op.positions, kType), position,
                        with_type(op.types_table, kType), type, out);
    } else if (all_f16) {
      constexpr ElementType kType = ElementType::kF16;
      sum = add_rows<V>(with_type(op.words, kType), word, with_type(op.positions, kType), position,
                        with_type(op.types_table, kType), type, out);
    } else {
      sum = add_rows<V>(op.words, word, op.positions, position, op.types_table, type, out);
    }
    normalize_row<V>(out, sum, op.gamma, op.beta, op.epsilon, op.width, out);
    narrow_row<V>(out, t, op.width, op.narrowed);
  }
}

}  // namespace nacelle::kernels::cpu
