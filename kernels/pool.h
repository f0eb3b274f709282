// One vector per sequence from its token vectors.
//
// Sequences are packed end to end, without padding:
//
//   offsets = {0, 3, 5}               two sequences, of 3 and 2 tokens
//   hidden  = t0 t1 t2 | t3 t4        each t is `width` floats
#pragma once

#include <cstdint>

namespace nacelle::kernels {

enum class Pooling : std::uint8_t {
  kMean,   // the mean over all tokens
  kFirst,  // the first token, [CLS] in BERT
};

struct Pool {
  const float* hidden;           // [tokens, width]
  const std::uint32_t* offsets;  // [sequences + 1]  rising strictly: no sequence is empty
  float* out;                    // [sequences, width]
  std::uint32_t sequences;       // 0 is allowed and does nothing
  std::uint32_t width;
  Pooling pooling;
  bool normalize;  // scale each row to L2 norm 1; an all-zero row stays zero
};

// Norms below this count as zero, so that an all-zero row stays zero instead of becoming NaN.
inline constexpr float kNormMin = 1e-12F;

}  // namespace nacelle::kernels
