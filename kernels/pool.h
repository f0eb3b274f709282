// One vector per sequence from its token vectors.
//
// Sequences are packed end to end, without padding:
//
//   offsets = {0, 3, 5}               two sequences, of 3 and 2 tokens
//   hidden  = t0 t1 t2 | t3 t4        each t is `width` floats
#pragma once

#include <cstdint>

#include "kernels/normalize.h"

namespace nacelle::kernels {

enum class Pooling : std::uint8_t {
  kMean,          // the mean over all tokens
  kFirst,         // the first token, [CLS] in BERT
  kLast,          // the last token
  kMax,           // the largest of each column; a NaN among numbers may get lost
  kMeanSqrt,      // the sum over all tokens divided by the square root of their number
  kWeightedMean,  // the mean where token i (from 0) counts i + 1 times
};

struct Pool {
  const float* hidden;           // [tokens, width]
  const std::uint32_t* offsets;  // [sequences + 1]  rising strictly: no sequence is empty
  float* out;                    // [sequences, width]
  std::uint32_t sequences;       // 0 is allowed and does nothing
  std::uint32_t width;
  Pooling pooling;
  bool normalize;                // scale each row to L2 norm 1; an all-zero row stays zero
  std::uint32_t out_stride = 0;  // floats from one row of out to the next; 0 means `width`
};

}  // namespace nacelle::kernels
