// The loops of this folder for one vector type V, as tables.
//
// V is a struct of internal linkage with a Register type, kLanes, the tile's size (kTileRows,
// kTileVectors) and the functions that the loops call; vectors/avx2.h is the shortest example. Two
// rules: min(a, b) and max(a, b) give b when either is NaN, and X_first(p, n) touches n elements
// only.
#pragma once

#include "kernels/cpu/loops/attention.h"
#include "kernels/cpu/loops/bf16.h"
#include "kernels/cpu/loops/gate.h"
#include "kernels/cpu/loops/int8.h"
#include "kernels/cpu/loops/linear.h"
#include "kernels/cpu/loops/math.h"
#include "kernels/cpu/loops/pool.h"
#include "kernels/cpu/loops/rotary.h"
#include "kernels/cpu/loops/rows.h"
#include "kernels/cpu/target.h"

namespace nacelle::kernels::cpu {

template <class V, typename V::Register (*kFunction)(typename V::Register)>
void each(const float* in, float* out, std::size_t count) {
  std::size_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) V::store(out + i, kFunction(V::load(in + i)));
  if (i < count) V::store_first(out + i, kFunction(V::load_first(in + i, count - i)), count - i);
}

template <class V>
constexpr Ops make_ops() {
  return {.lanes = V::kLanes,
          .attention = attention<V>,
          .attention_scratch = attention_scratch<V>,
          .rotary = rotary<V>,
          .gate = gate<V>,
          .embed = embed<V>,
          .layer_norm = layer_norm<V>,
          .pool = pool<V>,
          .normalize = normalize<V>,
          .quantize = quantize<V>,
          .exp_nonpositive = each<V, exp_nonpositive<V>>,
          .exp2_rough = each<V, exp2_rough<V>>,
          .erf = each<V, erf<V>>,
          .tanh = each<V, tanh<V>>};
}

// The loops over floats; of bf16 and int8: dot.h.
template <class V>
constexpr LinearKernel float_kernel(const char* layout) {
  return {.layout = {.name = layout,
                     .format = LinearFormat::kF32,
                     .panel = V::kTileVectors * V::kLanes,
                     .lanes = V::kLanes,
                     .group = 1,
                     .depth = 1},
          .tile_rows = V::kTileRows,
          .block_rows = 48,
          .products_per_ns = 5 * V::kLanes,
          .scratch = [](std::size_t, std::size_t) { return std::size_t{0}; },
          .run = linear<V>};
}

}  // namespace nacelle::kernels::cpu
