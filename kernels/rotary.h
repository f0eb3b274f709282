// Rotary positions: turns the queries and keys of packed sequences, in place, by angles that grow
// with the token's position in its sequence. Su et al. 2021 (arXiv 2104.09864), with the halves of
// a head as pairs, as Hugging Face's rotate_half has them:
//
//   y[d]            = x[d] * cos - x[d + half] * sin        half = head_width / 2, d < half
//   y[d + half]     = x[d + half] * cos + x[d] * sin        cos, sin: of (position, d)
#pragma once

#include <cstdint>

namespace nacelle::kernels {

struct Rotary {
  float* qkv;                    // [tokens, 3 * heads * head_width]  each row: q | k | v; v stays
  const std::uint32_t* offsets;  // [sequences + 1]  no sequence longer than `positions`
  const float* cosines;          // [positions, head_width / 2]
  const float* sines;            // [positions, head_width / 2]
  std::uint32_t sequences;       // 0 is allowed and does nothing
  std::uint32_t heads;
  std::uint32_t head_width;  // even
  std::uint32_t positions;
};

}  // namespace nacelle::kernels
