// Bidirectional self-attention over packed sequences: every token looks at all tokens of its own
// sequence and at no other. softmax(q k^T / sqrt(head_width)) v, head by head.
#pragma once

#include <cstdint>

namespace nacelle::kernels {

struct Attention {
  const float* qkv;  // [tokens, 3 * heads * head_width]  each row: q | k | v, heads side by side
  const std::uint32_t* offsets;  // [sequences + 1]  rising; offsets[0] = 0, the last is `tokens`
  float* out;                    // [tokens, heads * head_width]  does not overlap qkv
  std::uint32_t sequences;       // 0 is allowed and does nothing
  std::uint32_t heads;
  std::uint32_t head_width;  // floats per head, e.g. 32 for MiniLM-L6
};

}  // namespace nacelle::kernels
