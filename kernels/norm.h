// LayerNorm: each row shifted to mean 0, scaled to variance 1, then scaled and shifted by learned
// vectors. Ba, Kiros, Hinton 2016 (arXiv 1607.06450), with the population variance.
#pragma once

#include <cstdint>

#include "kernels/activations.h"

namespace nacelle::kernels {

struct LayerNorm {
  const float* in;     // [rows, width]
  const float* gamma;  // [width]
  const float* beta;   // [width]
  float* out;          // [rows, width]  may be `in`
  std::uint32_t rows;  // 0 is allowed and does nothing
  std::uint32_t width;
  float epsilon;           // added to the variance, e.g. 1e-12 for BERT
  Narrowed narrowed = {};  // the same rows once more, made from what `out` holds
};

}  // namespace nacelle::kernels
