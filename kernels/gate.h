// A gated activation (GLU): out = activation(in[:width]) * in[width:]. Shazeer 2020
// (arXiv 2002.05202); which half is activated as in ModernBERT's GeGLU.
#pragma once

#include <cstdint>

#include "kernels/activation.h"

namespace nacelle::kernels {

struct Gate {
  const float* in;     // [rows, 2 * width]  each row: what is activated | what it is multiplied by
  float* out;          // [rows, width]      does not overlap in
  std::uint32_t rows;  // 0 is allowed and does nothing
  std::uint32_t width;
  Activation activation;
};

}  // namespace nacelle::kernels
