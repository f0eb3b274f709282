// A linear layer in bf16 or int8 as oneDNN computes it, with the same epilogue fused in.
#pragma once

#include <memory>
#include <string>

#include "kernels/kernels.h"

namespace nacelle::bench {

struct OneDnnLayer {
  const float* weights;  // [outputs, inputs]; int8: codes as floats, whose scales are apart
  const float* scales;   // [outputs]  int8 only
  float row_scale;       // of every row of codes
  const float* bias;     // [outputs]
  std::uint32_t rows, inputs, outputs;
  kernels::LinearFormat format;
  kernels::Activation activation;  // kNone or kGelu
  bool residual;
};

class OneDnn {
 public:
  virtual ~OneDnn() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  // The layer it was made for: in, out (floats) and residual of the op.
  virtual void linear(const kernels::Linear& op) = 0;
};

// nullptr when this program was built without oneDNN, or when oneDNN has no such layer here.
std::unique_ptr<OneDnn> make_onednn(const OneDnnLayer& layer, unsigned threads);

}  // namespace nacelle::bench
