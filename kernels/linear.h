// A linear layer with everything that follows it in the same pass over the output:
//
//   out = activation(in * weights^T + bias) + residual
//
// Weights are packed once, at load, into the backend's own layout (Backend::pack), for one of three
// kinds of arithmetic:
//
//   format   in      a product is             sums
//   kF32     kF32    float                    floats
//   kBF16    kBF16   exact                    floats; in some kernels without denormals
//   kInt8    kI8     exact                    exact in int32, then * row scale * column scale
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/activation.h"
#include "kernels/activations.h"
#include "kernels/packed_linear.h"
#include "kernels/tensor.h"

namespace nacelle::kernels {

// What a layer's file holds, before packing. Copied by pack(): it need not outlive the call.
// Weights of any type can be packed for any format: they are rounded or quantized (a row of weights
// by the rule of quantize.h) where the format has fewer bits, and codes stay the codes they are.
struct LinearWeights {
  Tensor weights;                 // [outputs, inputs]  one row an output, as PyTorch stores it
  const float* bias = nullptr;    // [outputs]          or nullptr for none
  const float* scales = nullptr;  // [outputs]  of weights of type kI8, and only of those
  LinearFormat format = LinearFormat::kF32;
};

struct Linear {
  RowsIn in;                    // [rows, inputs]     of the type that the weights' format asks for
  const PackedLinear* weights;  // by the same backend and target
  RowsOut out;                  // [rows, outputs]    overlaps neither in nor residual; kBF16 only
                                //                    with weights that are not kF32
  std::uint32_t rows;           // 0 is allowed and does nothing
  Activation activation = Activation::kNone;
  const float* residual = nullptr;  // [rows, outputs] or nullptr; added after the activation
};

}  // namespace nacelle::kernels
