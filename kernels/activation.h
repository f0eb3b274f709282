// What a linear layer or a gate may do to a number. Apart from linear.h so that the loops that are
// compiled for one instruction set need no standard library.
#pragma once

#include <cstdint>

namespace nacelle::kernels {

enum class Activation : std::uint8_t {
  kNone,
  kGelu,      // x/2 (1 + erf(x / sqrt 2)): the exact one, as BERT uses it
  kGeluTanh,  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GPT-2's approximation of it
  kRelu,      // max(x, 0)
  kSilu,      // x / (1 + e^-x)
  kTanh,
};

}  // namespace nacelle::kernels
