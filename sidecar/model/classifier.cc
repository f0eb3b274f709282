// See classifier.h.
#include "sidecar/model/classifier.h"

namespace nacelle::model {

Classifier read_dense_classifier(Weights& weights, std::string_view dense,
                                 kernels::Activation activation, std::string_view out,
                                 std::uint32_t width, std::uint32_t labels) {
  return {.dense = weights.linear(dense, width, width),
          .activation = activation,
          .norm = {},
          .out = weights.linear(out, labels, width)};
}

const float* classify(const Classifier& head, const Encoder::Wave& wave,
                      const EncoderConfig& config, float* space, kernels::Backend& backend) {
  const std::size_t size = std::size_t{kWaveSequences} * config.width;
  float* pooled = space;
  float* inside = pooled + size;
  float* logits = inside + size;
  backend.pool({.hidden = wave.hidden,
                .offsets = wave.offsets,
                .out = pooled,
                .sequences = wave.sequences,
                .width = config.width,
                .pooling = head.pooling,
                .normalize = false});
  backend.linear({.in = pooled,
                  .weights = head.dense.get(),
                  .out = inside,
                  .rows = wave.sequences,
                  .activation = head.activation});
  if (!head.norm.gamma.empty()) {
    backend.layer_norm({.in = inside,
                        .gamma = head.norm.gamma.data(),
                        .beta = head.norm.beta.data(),
                        .out = inside,
                        .rows = wave.sequences,
                        .width = config.width,
                        .epsilon = config.epsilon});
  }
  backend.linear({.in = inside, .weights = head.out.get(), .out = logits, .rows = wave.sequences});
  return logits;
}

}  // namespace nacelle::model
