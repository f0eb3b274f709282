// The first step of an encoder: a token's vector is the sum of its word, position and type
// vectors, normalized. Packed sequences: positions restart at every offset, unless they are given.
#pragma once

#include <cstdint>

#include "kernels/activations.h"
#include "kernels/tensor.h"

namespace nacelle::kernels {

struct EmbedNorm {
  const std::uint32_t* ids;      // [tokens]  each below words.rows: the caller has checked
  const std::uint32_t* types;    // [tokens]  each below types_table.rows, or nullptr for all 0
  const std::uint32_t* offsets;  // [sequences + 1]  no sequence longer than positions.rows, or:
  // [tokens], each below positions.rows (the caller has checked), or nullptr: 0, 1, 2, ... from
  // every offset.
  const std::uint32_t* position_ids = nullptr;
  Tensor words;             // [vocabulary, width]
  Tensor positions;         // [positions, width]
  Tensor types_table;       // [types, width]
  const float* gamma;       // [width]
  const float* beta;        // [width]
  float* out;               // [tokens, width]
  std::uint32_t sequences;  // 0 is allowed and does nothing
  std::uint32_t width;
  float epsilon;           // of the LayerNorm
  Narrowed narrowed = {};  // the same rows once more, made from what `out` holds
};

}  // namespace nacelle::kernels
