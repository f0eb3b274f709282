// See sentence.h.
#include "sidecar/model/sentence.h"

#include <algorithm>
#include <utility>

namespace nacelle::model {
namespace {

using Kind = SentenceStep::Kind;

constexpr float kLayerNormEpsilon = 1e-5F;  // torch's default, which the module keeps

}  // namespace

base::Result<Sentence> Sentence::create(const std::string& directory, SentenceConfig config,
                                        kernels::Backend& backend) {
  Sentence sentence;
  sentence.backend_ = &backend;
  std::uint32_t widest = config.pooled_width;
  for (const SentenceStep& step : config.steps) widest = std::max(widest, step.out_width);
  std::uint32_t in_width = config.pooled_width;
  for (const SentenceStep& step : config.steps) {
    StepWeights& own = sentence.weights_.emplace_back();
    if (step.kind == Kind::kNormalize) continue;
    auto weights = Weights::open(directory + "/" + step.folder, backend);
    if (!weights) return weights.error();
    if (step.kind == Kind::kDense) {
      own.dense = weights->linear("linear", step.out_width, in_width,
                                  step.bias ? Bias::kPresent : Bias::kNone);
    } else {
      own.norm = weights->norm("norm", in_width);
    }
    if (const auto status = weights->status(); !status) return status.error();
    in_width = step.out_width;
    sentence.parameters_ += weights->parameters();
    sentence.memory_bytes_ += weights->memory_bytes();
  }
  for (kernels::Buffer* buffer : {&sentence.rows_, &sentence.other_}) {
    auto allocated = backend.allocate(std::size_t{kWaveSequences} * widest * sizeof(float));
    if (!allocated) return allocated.error();
    *buffer = std::move(*allocated);
    sentence.memory_bytes_ += buffer->size();
  }
  sentence.config_ = std::move(config);
  return sentence;
}

bool Sentence::normalizes() const {
  return !config_.steps.empty() && config_.steps.back().kind == Kind::kNormalize;
}

const float* Sentence::embed(const Encoder::Wave& wave, std::uint32_t hidden_width, bool raw) {
  auto* rows = rows_.as<float>();
  auto* other = other_.as<float>();
  const std::uint32_t stride = config_.pooled_width;
  for (std::size_t i = 0; i < config_.pooling.size(); ++i) {
    backend_->pool({.hidden = wave.hidden,
                    .offsets = wave.offsets,
                    .out = rows + i * hidden_width,
                    .sequences = wave.sequences,
                    .width = hidden_width,
                    .pooling = config_.pooling[i],
                    .normalize = false,
                    .out_stride = stride});
  }
  std::uint32_t width = stride;
  const std::size_t steps = config_.steps.size() - (raw && normalizes() ? 1 : 0);
  for (std::size_t i = 0; i < steps; ++i) {
    const SentenceStep& step = config_.steps[i];
    switch (step.kind) {
      case Kind::kDense:
        backend_->linear({.in = rows,
                          .weights = weights_[i].dense.get(),
                          .out = other,
                          .rows = wave.sequences,
                          .activation = step.activation,
                          .residual = step.residual ? rows : nullptr});
        std::swap(rows, other);
        break;
      case Kind::kLayerNorm:
        backend_->layer_norm({.in = rows,
                              .gamma = weights_[i].norm.gamma.data(),
                              .beta = weights_[i].norm.beta.data(),
                              .out = rows,
                              .rows = wave.sequences,
                              .width = width,
                              .epsilon = kLayerNormEpsilon});
        break;
      case Kind::kNormalize:
        backend_->normalize({.data = rows, .rows = wave.sequences, .width = width});
        break;
    }
    width = step.out_width;
  }
  return rows;
}

}  // namespace nacelle::model
