// Bidirectional self-attention over packed sequences: every token looks at all tokens of its own
// sequence and at no other. softmax(q k^T / sqrt(head_width) + bias) v, head by head.
//
// Two options of some encoders: a bias that depends on the distance of two tokens (MPNet's relative
// positions), and a window outside of which a token does not look (ModernBERT's local layers).
#pragma once

#include <cstdint>

#include "kernels/activations.h"

namespace nacelle::kernels {

struct Attention {
  RowsIn
      qkv;  // [tokens, 3 * heads * head_width]  each row: q | k | v, heads side by side; kF32, or
            // kBF16: then weights and products may be rounded to bf16 too, their sums are floats
  const std::uint32_t* offsets;  // [sequences + 1]  rising; offsets[0] = 0, the last is `tokens`
  RowsOut out;                   // [tokens, heads * head_width]  does not overlap qkv
  std::uint32_t sequences;       // 0 is allowed and does nothing
  std::uint32_t heads;
  std::uint32_t head_width;  // numbers per head, e.g. 32 for MiniLM-L6
  // [heads, 2 * bias_reach + 1] or nullptr. Token i looking at token j adds number j - i +
  // bias_reach of its head's row to the score; no sequence is longer than bias_reach + 1.
  const float* bias = nullptr;
  std::uint32_t bias_reach = 0;
  // Token i looks at the tokens j with |i - j| <= window only. A NaN or infinity in the values may
  // still reach the queries of tokens somewhat farther away, of the same sequence.
  std::uint32_t window = kNoWindow;

  static constexpr std::uint32_t kNoWindow = UINT32_MAX;
};

}  // namespace nacelle::kernels
