// A sequence classifier's head: a pooled token vector to one logit per label.
//
//   pooled -> dense -> activation (-> norm) -> out
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "kernels/kernels.h"
#include "sidecar/model/encoder.h"
#include "sidecar/model/weights.h"

namespace nacelle::model {

struct Classifier {
  kernels::Pooling pooling = kernels::Pooling::kFirst;
  std::unique_ptr<kernels::PackedLinear> dense;  // width -> width
  kernels::Activation activation = kernels::Activation::kNone;
  Norm norm;                                   // empty for none
  std::unique_ptr<kernels::PackedLinear> out;  // width -> labels
};

// The head that most architectures have: the layers called `dense` and `out` in the file, both with
// a bias, on the first token.
Classifier read_dense_classifier(Weights& weights, std::string_view dense,
                                 kernels::Activation activation, std::string_view out,
                                 std::uint32_t width, std::uint32_t labels);

// Floats of workspace for one sequence of `width` floats and so many labels.
constexpr std::size_t classifier_floats(std::size_t width, std::size_t labels) {
  return 2 * width + labels;
}

// The logits of a wave, [sequences, labels], inside `space`: kWaveSequences * classifier_floats().
const float* classify(const Classifier& head, const Encoder::Wave& wave,
                      const EncoderConfig& config, float* space, kernels::Backend& backend);

}  // namespace nacelle::model
