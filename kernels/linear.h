// A linear layer with everything that follows it in the same pass over the output:
//
//   out = activation(in * weights^T + bias) + residual
//
// Weights are packed once, at load, into the backend's own layout (Backend::pack).
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace nacelle::kernels {

// Weights in a backend's own layout; made by Backend::pack, used by that backend only.
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  std::uint32_t inputs = 0;   // K
  std::uint32_t outputs = 0;  // N
};

// What a layer's file holds, before packing. Copied by pack(): it need not outlive the call.
struct LinearWeights {
  Tensor weights;               // [outputs, inputs]  one row an output, as PyTorch stores it
  const float* bias = nullptr;  // [outputs]          or nullptr for none
};

struct Linear {
  const float* in;              // [rows, inputs]
  const PackedLinear* weights;  // by the same backend
  float* out;                   // [rows, outputs]    overlaps neither in nor residual
  std::uint32_t rows;           // 0 is allowed and does nothing
  Activation activation = Activation::kNone;
  const float* residual = nullptr;  // [rows, outputs] or nullptr; added after the activation
};

}  // namespace nacelle::kernels
