// The loops of this folder for one vector type V, as a Target.
//
// V is a struct of internal linkage with a Register type, kLanes, the tile's size (kTileRows,
// kTileVectors) and the functions that the loops call; avx2.cc is the shortest example. Two rules:
// min(a, b) and max(a, b) give b when either is NaN, and X_first(p, n) touches n elements only.
#pragma once

#include "kernels/cpu/loops/attention.h"
#include "kernels/cpu/loops/gate.h"
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
constexpr Target make_target(const char* name) {
  return {.name = name,
          .lanes = V::kLanes,
          .panel = V::kTileVectors * V::kLanes,
          .tile_rows = V::kTileRows,
          .linear = linear<V>,
          .attention = attention<V>,
          .attention_scratch = attention_scratch<V>,
          .rotary = rotary<V>,
          .gate = gate<V>,
          .embed = embed<V>,
          .layer_norm = layer_norm<V>,
          .pool = pool<V>,
          .normalize = normalize<V>,
          .exp_nonpositive = each<V, exp_nonpositive<V>>,
          .erf = each<V, erf<V>>,
          .tanh = each<V, tanh<V>>};
}

}  // namespace nacelle::kernels::cpu
