// Attention on one block of queries: keys in blocks of kKeys, softmax on the way.
//
// For each block of keys, K is transposed and V is copied into scratch (both then stay in the
// second-level cache), and for each tile of queries
//
//   scores = q k^T                                     a tile product
//   largest' = max(largest, scores)
//   weights = exp((scores - largest') * scale)
//   fade = exp((largest - largest') * scale)           1 key block: never needed
//   sum = sum * fade + weights;  y = y * fade + weights v
//
// and at the end out = y / sum: Milakov and Gimelshein 2018 (arXiv 1805.02867), in blocks as Dao et
// al. 2022 (arXiv 2205.14135). The scratch has a fixed size however long the sequence is. Blocks of
// keys start at the sequence's first token, whatever the block of queries. With a window, a tile of
// queries takes only those columns of a block (from a tile's border on) that one of them looks at.
#pragma once

#include "kernels/cpu/loops/finish.h"
#include "kernels/cpu/loops/math.h"
#include "kernels/cpu/loops/tile.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

// A multiple of every target's tile width (48, 16). With 64 floats a head: 48 KiB of keys and 48
// KiB of values.
inline constexpr std::size_t kKeys = 192;

template <class V>
constexpr std::size_t whole_vectors(std::size_t n) {
  return (n + V::kLanes - 1) / V::kLanes * V::kLanes;
}

// Vectors of an element type as floats; a float stands for itself, a std::uint16_t for a bf16.
template <class V>
[[gnu::always_inline]] inline typename V::Register load_as_floats(const float* p, std::size_t n) {
  return n >= V::kLanes ? V::load(p) : V::load_first(p, n);
}
template <class V>
[[gnu::always_inline]] inline typename V::Register load_as_floats(const std::uint16_t* p,
                                                                  std::size_t n) {
  return n >= V::kLanes ? V::load_bf16(p) : V::load_bf16_first(p, n);
}

// Where things lie in the scratch; all of it aligned to 64 bytes.
template <class V>
struct AttentionScratch {
  float* keys;     // panels of tile width: [head_width, columns of the panel] each
  float* values;   // [kKeys, padded]  zeros behind head_width
  float* weights;  // [tile rows, kKeys]
  float* queries;  // [tile rows, padded]  for queries that are not floats
  float* y;        // [kQueriesMax, padded]
  float* largest;  // [kQueriesMax]
  float* sum;      // [kQueriesMax]

  AttentionScratch(float* base, std::size_t head_width)
      : keys(base),
        values(keys + kKeys * whole_vectors<V>(head_width)),
        weights(values + kKeys * whole_vectors<V>(head_width)),
        queries(weights + V::kTileRows * kKeys),
        y(queries + V::kTileRows * whole_vectors<V>(head_width)),
        largest(y + kQueriesMax * whole_vectors<V>(head_width)),
        sum(largest + kQueriesMax) {}
};

template <class V>
std::size_t attention_scratch(std::uint32_t head_width) {
  return (2 * kKeys + kQueriesMax + V::kTileRows) * whole_vectors<V>(head_width) +
         V::kTileRows * kKeys + 2 * kQueriesMax;
}

// `count` rows of `width` floats, `stride` apart, into panels of columns; the last panel is as wide
// as whole vectors need, with zeros for the missing keys.
template <class V, class Element>
void pack_keys(const Element* from, std::size_t stride, std::size_t count, std::size_t width,
               float* panels) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  for (std::size_t j = 0; j < count; j += V::kLanes) {
    const std::size_t panel = j / kWidth * kWidth;
    const std::size_t left = whole_vectors<V>(count) - panel;
    const std::size_t columns = left < kWidth ? left : kWidth;
    const std::size_t rows = count - j < V::kLanes ? count - j : V::kLanes;
    float* to = panels + panel * width + (j - panel);
    for (std::size_t d = 0; d < width; d += V::kLanes) {
      const std::size_t n = width - d < V::kLanes ? width - d : V::kLanes;
      typename V::Register block[V::kLanes];
      // Unrolled, so that the block stays in registers. Missing rows read nothing of the last one.
#pragma GCC unroll 16
      for (std::size_t r = 0; r < V::kLanes; ++r) {
        const Element* row = from + (j + (r < rows ? r : rows - 1)) * stride + d;
        if constexpr (sizeof(Element) == sizeof(float)) {
          block[r] = V::load_first(row, r < rows ? n : 0);
        } else {
          block[r] = V::load_bf16_first(row, r < rows ? n : 0);
        }
      }
      V::transpose(block);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < V::kLanes; ++i) {
        if (i < n) V::store(to + (d + i) * columns, block[i]);
      }
    }
  }
}

// Rows as floats, zeros behind the last of whole vectors.
template <class V, class Element>
void pack_values(const Element* from, std::size_t stride, std::size_t count, std::size_t width,
                 float* to) {
  const std::size_t padded = whole_vectors<V>(width);
  for (std::size_t j = 0; j < count; ++j) {
    for (std::size_t d = 0; d < width; d += V::kLanes) {
      V::store(to + j * padded + d, load_as_floats<V>(from + j * stride + d, width - d));
    }
  }
}

// The weights of one row of scores of `count` keys, each vector given to store(j, weights);
// `largest` and `sum` move on. Returns the fade. Weights behind `count`, up to whole vectors, are
// 0. kRough: by exp2_rough, for weights that are rounded to bf16 next.
template <class V, bool kRough, class Store>
[[gnu::always_inline]] inline float softmax_row(const float* row, std::size_t count, float scale,
                                                bool first, float& largest, float& sum,
                                                Store store) {
  constexpr float kLowest = -__builtin_inff();
  // The last vector's missing keys score -inf. Set in the register: a load of a vector waits long
  // for stores of single floats in it.
  const auto load = [row, count](std::size_t j) {
    const auto x = V::load(row + j);
    return count - j >= V::kLanes ? x : V::first_or(x, count - j, V::set1(kLowest));
  };

  auto tops = V::set1(first ? kLowest : largest);
  // max(x, tops) keeps tops when x is NaN; the NaN returns through exp.
  for (std::size_t j = 0; j < count; j += V::kLanes) tops = V::max(load(j), tops);
  const float top = V::largest(tops);
  // While all scores are -inf the shift must not be: -inf - -inf is NaN, and later keys may be
  // fine.
  const float shift = top == kLowest ? 0.0F : top;

  const float rough_scale = scale * 1.44269504F;  // of a power of 2 instead of e
  const auto weigh = [&](typename V::Register x) {
    if constexpr (kRough) {
      return exp2_rough<V>(V::fma(x, V::set1(rough_scale), V::set1(-shift * rough_scale)));
    } else {
      return exp_nonpositive<V>(V::mul(V::sub(x, V::set1(shift)), V::set1(scale)));
    }
  };
  auto sums = V::zero();
  std::size_t j = 0;
  for (; j + V::kLanes <= count; j += V::kLanes) {
    const auto weight = weigh(V::load(row + j));
    sums = V::add(sums, weight);
    store(j, weight);
  }
  if (j < count) {
    const auto weight = weigh(load(j));
    sums = V::add(sums, weight);
    store(j, weight);
  }

  float fade = 0.0F;
  if (!first) {
    alignas(64) float lanes[V::kLanes];
    V::store(lanes, weigh(V::set1(largest)));
    fade = lanes[0];
  }
  largest = top;
  sum = first ? V::sum(sums) : __builtin_fmaf(sum, fade, V::sum(sums));
  return fade;
}

// Scores become score * scale + bias.
template <class V>
void add_bias(float* row, std::size_t count, float scale, const float* bias) {
  const auto scales = V::set1(scale);
  for (std::size_t j = 0; j < count; j += V::kLanes) {
    const std::size_t n = count - j;
    const auto b = n >= V::kLanes ? V::load(bias + j) : V::load_first(bias + j, n);
    V::store(row + j, V::fma(V::load(row + j), scales, b));
  }
}

// Scores outside of [begin, end) become -inf; both are at most `count`.
template <class V>
void mask_row(float* row, std::size_t count, std::size_t begin, std::size_t end) {
  const auto lowest = V::set1(-__builtin_inff());
  for (std::size_t j = 0; j < begin; j += V::kLanes) {
    const std::size_t n = begin - j < V::kLanes ? begin - j : V::kLanes;
    V::store(row + j, V::first_or(lowest, n, V::load(row + j)));
  }
  for (std::size_t j = end / V::kLanes * V::kLanes; j < count; j += V::kLanes) {
    const std::size_t n = end > j ? end - j : 0;
    V::store(row + j, V::first_or(V::load(row + j), n, lowest));
  }
}

// Tokens [begin, end).
struct TokenSpan {
  std::size_t begin;
  std::size_t end;
};

// The keys that the queries [begin, end) look at.
static inline TokenSpan looked_at(const Attention& op, std::size_t begin, std::size_t end,
                                  std::size_t length) {
  const std::size_t window = op.window;
  return {begin > window ? begin - window : 0,
          window < length && end + window < length ? end + window : length};
}

// The part of `keys` in the block of `count` keys from `first` on, counted from there; from a
// multiple of `unit` on. Empty (end 0) when they do not meet.
static inline TokenSpan part_of_block(const TokenSpan& keys, std::size_t first, std::size_t count,
                                      std::size_t unit) {
  if (keys.end <= first || keys.begin >= first + count) return {0, 0};
  const std::size_t begin = keys.begin > first ? (keys.begin - first) / unit * unit : 0;
  return {begin, keys.end - first < count ? keys.end - first : count};
}

// A sequence of one token: its only weight is 1, or NaN when its score is no number.
template <class V, class Element>
void attend_to_itself(const Element* q, const Element* k, const Element* v, std::size_t head_width,
                      const RowsOut& out, std::size_t at) {
  auto scores = V::zero();
  for (std::size_t d = 0; d < head_width; d += V::kLanes) {
    const std::size_t n = head_width - d < V::kLanes ? head_width - d : V::kLanes;
    scores = V::fma(load_as_floats<V>(q + d, n), load_as_floats<V>(k + d, n), scores);
  }
  const float score = V::sum(scores);
  const auto weight = V::set1(1.0F + (score - score));
  for (std::size_t d = 0; d < head_width; d += V::kLanes) {
    const std::size_t n = head_width - d < V::kLanes ? head_width - d : V::kLanes;
    store_row<V>(out, at + d, V::mul(load_as_floats<V>(v + d, n), weight), n);
  }
}

// What a block of queries looks at, and how its tiles find their part of a block of keys.
//
//   wanted         the keys of the sequence that some query of the block looks at
//   packed_begin   the first of a block's keys that is packed: a tile's border
struct AttentionPlan {
  std::size_t length;
  const float* bias;  // of the distance 0, or nullptr
  bool windowed;
  TokenSpan wanted;
};

static inline AttentionPlan plan_of(const Attention& op, const AttentionBlock& block) {
  const std::size_t length = op.offsets[block.sequence + 1] - op.offsets[block.sequence];
  const float* bias =
      op.bias == nullptr
          ? nullptr
          : op.bias + block.head * (2 * std::size_t{op.bias_reach} + 1) + op.bias_reach;
  return {length, bias, op.window < length,
          looked_at(op, block.query_begin, block.query_end, length)};
}

// The scores of query `query` for `count` keys from `start` on become weights, given to store(j,
// weights); returns the fade.
template <class V, bool kRough, class Store>
[[gnu::always_inline]] inline float weigh_row(const Attention& op, const AttentionPlan& plan,
                                              std::size_t query, std::size_t start,
                                              std::size_t count, float* scores, bool first,
                                              float& largest, float& sum, Store store) {
  const float scale = 1.0F / __builtin_sqrtf(static_cast<float>(op.head_width));
  if (plan.bias != nullptr) {
    add_bias<V>(
        scores, count, scale,
        plan.bias + (static_cast<std::ptrdiff_t>(start) - static_cast<std::ptrdiff_t>(query)));
  }
  if (plan.windowed) {
    const TokenSpan own =
        part_of_block(looked_at(op, query, query + 1, plan.length), start, count, 1);
    mask_row<V>(scores, count, own.begin, own.end);
  }
  return softmax_row<V, kRough>(scores, count, plan.bias != nullptr ? 1.0F : scale, first, largest,
                                sum, store);
}

// The end of a block of queries: out = y / sum.
template <class V>
void finish_queries(const Attention& op, const AttentionBlock& block,
                    const AttentionScratch<V>& scratch) {
  const std::size_t head_width = op.head_width;
  const std::size_t padded = whole_vectors<V>(head_width);
  const std::size_t token = op.offsets[block.sequence] + block.query_begin;
  for (std::size_t i = 0; i < block.query_end - block.query_begin; ++i) {
    const auto share = V::set1(1.0F / scratch.sum[i]);
    const std::size_t at = ((token + i) * op.heads + block.head) * head_width;
    for (std::size_t d = 0; d < head_width; d += V::kLanes) {
      const auto y = V::mul(V::load(scratch.y + i * padded + d), share);
      store_row<V>(op.out, at + d, y, head_width - d);
    }
  }
}

template <class V, class Element>
void attention_of(const Attention& op, const AttentionBlock& block) {
  constexpr std::size_t kWidth = V::kTileVectors * V::kLanes;
  constexpr bool kFloats = sizeof(Element) == sizeof(float);
  const std::size_t head_width = op.head_width;
  const std::size_t width = op.heads * head_width;
  const std::size_t stride = 3 * width;
  const std::size_t begin = op.offsets[block.sequence];
  const std::size_t padded = whole_vectors<V>(head_width);
  const Element* q =
      static_cast<const Element*>(op.qkv.data) + begin * stride + block.head * head_width;
  const Element* k = q + width;
  const Element* v = k + width;
  const AttentionScratch<V> scratch(block.scratch, head_width);
  const AttentionPlan plan = plan_of(op, block);
  const std::size_t length = plan.length;
  if (length == 1) {
    return attend_to_itself<V>(q, k, v, head_width, op.out,
                               begin * width + block.head * head_width);
  }

  for (std::size_t key = plan.wanted.begin / kKeys * kKeys; key < plan.wanted.end; key += kKeys) {
    const std::size_t keys = length - key < kKeys ? length - key : kKeys;
    // What is packed of the block: whole panels.
    const std::size_t packed_begin = part_of_block(plan.wanted, key, keys, kWidth).begin;
    const std::size_t packed = keys - packed_begin;
    pack_keys<V>(k + (key + packed_begin) * stride, stride, packed, head_width, scratch.keys);
    // Values that only one tile of queries will read are read where they are.
    const bool copied = !kFloats || packed > V::kTileRows || head_width != padded;
    const Element* values_in = v + (key + packed_begin) * stride;
    if (copied) pack_values<V>(values_in, stride, packed, head_width, scratch.values);
    const float* values = scratch.values;
    if constexpr (kFloats) values = copied ? values : values_in;
    const std::size_t values_stride = copied ? padded : stride;

    for (std::size_t query = block.query_begin; query < block.query_end; query += V::kTileRows) {
      const std::size_t queries_left = block.query_end - query;
      const std::size_t rows = queries_left < V::kTileRows ? queries_left : V::kTileRows;
      const std::size_t state = query - block.query_begin;
      const TokenSpan span = looked_at(op, query, query + rows, length);
      const TokenSpan columns = part_of_block(span, key, keys, kWidth);
      if (columns.end == 0) continue;
      const bool first = span.begin >= key;  // block of keys with something for this tile
      const std::size_t count = columns.end - columns.begin;
      const std::size_t skipped = columns.begin - packed_begin;
      const float* queries = scratch.queries;
      if constexpr (kFloats) {
        queries = q + query * stride;
      } else {
        pack_values<V>(q + query * stride, stride, rows, head_width, scratch.queries);
      }

      for (std::size_t j = 0; j < count; j += kWidth) {
        const std::size_t left = packed - skipped - j;
        const std::size_t panel = whole_vectors<V>(left < kWidth ? left : kWidth);
        run_tile<V>(rows, panel / V::kLanes,
                    {.a = queries,
                     .a_stride = kFloats ? stride : padded,
                     .b = scratch.keys + (skipped + j) * head_width,
                     .b_stride = panel,
                     .count = head_width,
                     .c = scratch.weights + j,
                     .c_stride = kKeys,
                     .scale = nullptr});
      }

      float fades[V::kTileRows];
      for (std::size_t r = 0; r < rows; ++r) {
        float* row = scratch.weights + r * kKeys;
        fades[r] = weigh_row<V, false>(
            op, plan, query + r, key + columns.begin, count, row, first, scratch.largest[state + r],
            scratch.sum[state + r],
            [row](std::size_t j, typename V::Register weights) { V::store(row + j, weights); });
      }

      float* y = scratch.y + state * padded;
      for (std::size_t d = 0; d < padded; d += kWidth) {
        const std::size_t width_left = padded - d < kWidth ? padded - d : kWidth;
        run_tile<V>(rows, width_left / V::kLanes,
                    {.a = scratch.weights,
                     .a_stride = kKeys,
                     .b = values + skipped * values_stride + d,
                     .b_stride = values_stride,
                     .count = count,
                     .c = y + d,
                     .c_stride = padded,
                     .scale = first ? nullptr : fades});
      }
    }
  }
  finish_queries<V>(op, block, scratch);
}

template <class V>
void attention(const Attention& op, const AttentionBlock& block) {
  if (op.qkv.type == ElementType::kBF16) return attention_of<V, std::uint16_t>(op, block);
  attention_of<V, float>(op, block);
}

}  // namespace nacelle::kernels::cpu
