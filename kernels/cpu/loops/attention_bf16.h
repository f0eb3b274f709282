// Attention on bf16 rows with products of bf16 pairs: the same blocks and the same softmax on the
// way as loops/attention.h, whose scratch it uses.
//
//   scores   pairs of numbers of q and k: K is transposed as 32-bit pairs
//   values   pairs of keys: weights are rounded to bf16 after their sum is taken, and the values of
//   two
//            keys lie side by side
#pragma once

#include "kernels/cpu/loops/attention.h"
#include "kernels/cpu/loops/dot.h"

namespace nacelle::kernels::cpu {

// The values of keys 2i and 2i + 1 side by side, for whole vectors of columns; the last key of an
// odd number has a neighbour of zeros.
template <class D>
void pack_value_pairs(const std::uint16_t* from, std::size_t stride, std::size_t count,
                      std::size_t width, char* to) {
  constexpr std::size_t kLanes = D::Vector::kLanes;
  const std::size_t padded = whole_vectors<typename D::Vector>(width);
  for (std::size_t j = 0; j < count; j += 2) {
    for (std::size_t d = 0; d < width; d += kLanes) {
      const std::size_t n = width - d < kLanes ? width - d : kLanes;
      const std::uint16_t* row = from + j * stride + d;
      const bool odd_one = j + 1 == count;
      D::store_pairs(to + (j / 2 * padded + d) * 4, row, odd_one ? row : row + stride, n,
                     odd_one ? 0 : n);
    }
  }
}

template <class D>
void attention_dot(const Attention& op, const AttentionBlock& block) {
  using V = typename D::Vector;
  constexpr std::size_t kWidth = D::kTileVectors * V::kLanes;
  static_assert(kWidth % 2 == 0, "a tile's border never parts a pair of keys");
  const std::size_t head_width = op.head_width;
  const std::size_t width = op.heads * head_width;
  const std::size_t stride = 3 * width;
  const std::size_t begin = op.offsets[block.sequence];
  const AttentionPlan plan = plan_of(op, block);
  const std::size_t length = plan.length;
  // An odd head has no whole pairs; one token has nothing to multiply.
  if (head_width % 2 != 0 || length == 1) return attention_of<V, std::uint16_t>(op, block);

  const std::size_t pairs = head_width / 2;
  const std::size_t padded = whole_vectors<V>(head_width);
  const auto* q =
      static_cast<const std::uint16_t*>(op.qkv.data) + begin * stride + block.head * head_width;
  const std::uint16_t* k = q + width;
  const std::uint16_t* v = k + width;
  const AttentionScratch<V> scratch(block.scratch, head_width);
  const auto* keys_at = static_cast<const char*>(static_cast<const void*>(scratch.keys));
  // Pairs need half of the room that floats have. The other half of the values', kKeys / 2 rows of
  // at least a vector, takes the weights of a tile.
  auto* values_at = static_cast<char*>(static_cast<void*>(scratch.values));
  auto* weights_at = values_at + kKeys * padded * 2;
  static_assert(D::kTileRows <= V::kLanes);
  constexpr std::size_t kWeightsStride = kKeys * 2;
  alignas(64) float sums[D::kTileRows * kWidth];

  for (std::size_t key = plan.wanted.begin / kKeys * kKeys; key < plan.wanted.end; key += kKeys) {
    const std::size_t keys = length - key < kKeys ? length - key : kKeys;
    const std::size_t packed_begin = part_of_block(plan.wanted, key, keys, kWidth).begin;
    const std::size_t packed = keys - packed_begin;
    const std::size_t first_row = (key + packed_begin) * stride;
    // A pair moves like a float.
    pack_keys<V>(static_cast<const float*>(static_cast<const void*>(k + first_row)), stride / 2,
                 packed, pairs, scratch.keys);
    pack_value_pairs<D>(v + first_row, stride, packed, head_width, values_at);

    for (std::size_t query = block.query_begin; query < block.query_end; query += D::kTileRows) {
      const std::size_t queries_left = block.query_end - query;
      const std::size_t rows = queries_left < D::kTileRows ? queries_left : D::kTileRows;
      const std::size_t state = query - block.query_begin;
      const TokenSpan span = looked_at(op, query, query + rows, length);
      const TokenSpan columns = part_of_block(span, key, keys, kWidth);
      if (columns.end == 0) continue;
      const bool first = span.begin >= key;  // block of keys with something for this tile
      const std::size_t count = columns.end - columns.begin;
      const std::size_t skipped = columns.begin - packed_begin;

      for (std::size_t j = 0; j < count; j += kWidth) {
        const std::size_t left = packed - skipped - j;
        const std::size_t panel = whole_vectors<V>(left < kWidth ? left : kWidth);
        const auto* row = static_cast<const char*>(static_cast<const void*>(q + query * stride));
        run_dot_tile<D>(rows, panel / V::kLanes,
                        {.rows = {row, stride * 2},
                         .weights = keys_at + (skipped + j) * pairs * 4,
                         .weights_stride = panel * 4,
                         .steps = pairs,
                         .soon = nullptr,
                         .to = scratch.weights + j,
                         .to_stride = kKeys});
      }

      float fades[D::kTileRows];
      for (std::size_t r = 0; r < rows; ++r) {
        char* weights = weights_at + r * kWeightsStride;
        fades[r] = weigh_row<V, true>(op, plan, query + r, key + columns.begin, count,
                                      scratch.weights + r * kKeys, first,
                                      scratch.largest[state + r], scratch.sum[state + r],
                                      [weights](std::size_t j, typename V::Register x) {
                                        D::store_rounded(weights + 2 * j, x);
                                      });
      }

      for (std::size_t d = 0; d < padded; d += kWidth) {
        const std::size_t width_left = padded - d < kWidth ? padded - d : kWidth;
        float* y = scratch.y + state * padded + d;
        run_dot_tile<D>(rows, width_left / V::kLanes,
                        {.rows = {weights_at, kWeightsStride},
                         .weights = values_at + (skipped / 2 * padded + d) * 4,
                         .weights_stride = padded * 4,
                         .steps = (count + 1) / 2,
                         .soon = nullptr,
                         .to = first ? y : sums,
                         .to_stride = first ? padded : kWidth});
        for (std::size_t r = 0; !first && r < rows; ++r) {
          for (std::size_t c = 0; c < width_left; c += V::kLanes) {
            float* at = y + r * padded + c;
            V::store(at, V::fma(V::load(at), V::set1(fades[r]), V::load(sums + r * kWidth + c)));
          }
        }
      }
    }
  }
  finish_queries<V>(op, block, scratch);
}

}  // namespace nacelle::kernels::cpu
