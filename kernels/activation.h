// What a linear layer may do to its output. Apart from linear.h so that the loops that are compiled
// for one instruction set need no standard library.
#pragma once

#include <cstdint>

namespace nacelle::kernels {

enum class Activation : std::uint8_t {
  kNone,
  kGelu,  // x/2 (1 + erf(x / sqrt 2)): the exact one, as BERT uses it
  kTanh,
};

}  // namespace nacelle::kernels
