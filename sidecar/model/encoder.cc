// See encoder.h.
#include "sidecar/model/encoder.h"

#include <algorithm>
#include <utility>

namespace nacelle::model {
namespace {

// Floats per token in Encoder::wide_.
std::size_t wide_width(const EncoderConfig& config) {
  const std::size_t attention = 4 * std::size_t{config.width};
  const std::size_t feed = (config.gated ? 3 : 1) * std::size_t{config.intermediate};
  return std::max({attention, feed, std::size_t{config.embedding_width}});
}

}  // namespace

base::Result<Encoder> Encoder::create(const EncoderConfig& config, EncoderWeights weights,
                                      kernels::Backend& backend) {
  Encoder encoder;
  encoder.config_ = config;
  encoder.weights_ = std::move(weights);
  encoder.backend_ = &backend;
  encoder.zeros_.assign(config.embedding_width, 0.0F);
  encoder.offsets_.reserve(kWaveSequences + 1);
  const std::size_t tokens = std::max(kWaveTokens, config.tokens_max);
  encoder.positions_.reserve(tokens);
  for (const auto& [buffer, floats] :
       {std::pair{&encoder.hidden_, tokens * config.width},
        std::pair{&encoder.sum_, tokens * config.width},
        std::pair{&encoder.normed_, config.norm_first ? tokens * config.width : std::size_t{0}},
        std::pair{&encoder.wide_, tokens * wide_width(config)}}) {
    if (floats == 0) continue;
    auto allocated = backend.allocate(floats * sizeof(float));
    if (!allocated) return allocated.error();
    *buffer = std::move(*allocated);
  }
  return encoder;
}

std::uint64_t Encoder::workspace_bytes() const {
  return hidden_.size() + sum_.size() + normed_.size() + wide_.size();
}

std::size_t Encoder::wave_end(std::span<const std::uint32_t> offsets, std::size_t first) {
  const std::size_t bound = std::min(offsets.size() - 1, first + kWaveSequences);
  std::size_t last = first + 1;
  while (last < bound && offsets[last + 1] - offsets[first] <= kWaveTokens) ++last;
  return last;
}

Encoder::Wave Encoder::forward(const Packed& batch, std::size_t first, std::size_t last) {
  const std::uint32_t start = batch.offsets[first];
  offsets_.clear();
  for (std::size_t i = first; i <= last; ++i) offsets_.push_back(batch.offsets[i] - start);

  embed(batch, start);
  for (const Layer& layer : weights_.layers) forward_layer(layer);
  auto* hidden = hidden_.as<float>();
  if (config_.norm_first) norm(hidden, weights_.final_norm, hidden);
  return {.hidden = hidden, .offsets = offsets_.data(), .sequences = sequences()};
}

void Encoder::embed(const Packed& batch, std::uint32_t start) {
  const std::uint32_t* ids = batch.ids.data() + start;
  const bool has_positions = weights_.positions.data != nullptr;
  const bool has_types = weights_.types.data != nullptr;
  const kernels::Tensor nothing{
      .data = zeros_.data(), .rows = 1, .columns = config_.embedding_width};
  positions_.clear();
  if (!has_positions) {
    positions_.assign(tokens(), 0);
  } else if (config_.pad_id) {
    for (std::size_t s = 0; s < sequences(); ++s) {
      std::uint32_t position = *config_.pad_id;
      for (std::size_t t = offsets_[s]; t < offsets_[s + 1]; ++t) {
        positions_.push_back(ids[t] == *config_.pad_id ? *config_.pad_id : ++position);
      }
    }
  }
  auto* hidden = hidden_.as<float>();
  float* embedded = weights_.project ? wide_.as<float>() : hidden;
  backend_->embed({.ids = ids,
                   // A table of one type has only one row to take, whatever a tokenizer says.
                   .types = has_types && config_.types > 1 ? batch.types.data() + start : nullptr,
                   .offsets = offsets_.data(),
                   .position_ids = positions_.empty() ? nullptr : positions_.data(),
                   .words = weights_.words,
                   .positions = has_positions ? weights_.positions : nothing,
                   .types_table = has_types ? weights_.types : nothing,
                   .gamma = weights_.embed_norm.gamma.data(),
                   .beta = weights_.embed_norm.beta.data(),
                   .out = embedded,
                   .sequences = sequences(),
                   .width = config_.embedding_width,
                   .epsilon = config_.epsilon});
  if (weights_.project) {
    backend_->linear(
        {.in = embedded, .weights = weights_.project.get(), .out = hidden, .rows = tokens()});
  }
}

// From hidden_ to hidden_.
void Encoder::forward_layer(const Layer& layer) {
  auto* hidden = hidden_.as<float>();
  auto* sum = sum_.as<float>();
  if (!config_.norm_first) {
    attend(layer, hidden, hidden, sum);
    norm(sum, layer.mix_norm, hidden);
    feed(layer, hidden, hidden, sum);
    norm(sum, layer.out_norm, hidden);
    return;
  }
  auto* normed = normed_.as<float>();
  const bool is_normed = !layer.mix_norm.gamma.empty();  // ModernBERT's first layer: by the tables'
  if (is_normed) norm(hidden, layer.mix_norm, normed);
  attend(layer, is_normed ? normed : hidden, hidden, sum);
  norm(sum, layer.out_norm, normed);
  feed(layer, normed, sum, hidden);
}

void Encoder::attend(const Layer& layer, const float* in, const float* residual, float* out) {
  const std::uint32_t head_width = config_.width / config_.heads;
  auto* qkv = wide_.as<float>();
  float* context = qkv + std::size_t{tokens()} * 3 * config_.width;
  backend_->linear({.in = in, .weights = layer.qkv.get(), .out = qkv, .rows = tokens()});
  if (layer.rotary) {
    const RotaryTable& table = weights_.rotary[*layer.rotary];
    backend_->rotary({.qkv = qkv,
                      .offsets = offsets_.data(),
                      .cosines = table.cosines.data(),
                      .sines = table.sines.data(),
                      .sequences = sequences(),
                      .heads = config_.heads,
                      .head_width = head_width,
                      .positions = config_.tokens_max});
  }
  const bool biased = !weights_.attention_bias.empty();
  backend_->attention({.qkv = qkv,
                       .offsets = offsets_.data(),
                       .out = context,
                       .sequences = sequences(),
                       .heads = config_.heads,
                       .head_width = head_width,
                       .bias = biased ? weights_.attention_bias.data() : nullptr,
                       .bias_reach = biased ? config_.tokens_max - 1 : 0,
                       .window = layer.window});
  backend_->linear({.in = context,
                    .weights = layer.mix.get(),
                    .out = out,
                    .rows = tokens(),
                    .residual = residual});
}

void Encoder::feed(const Layer& layer, const float* in, const float* residual, float* out) {
  auto* inside = wide_.as<float>();
  backend_->linear({.in = in,
                    .weights = layer.widen.get(),
                    .out = inside,
                    .rows = tokens(),
                    .activation = config_.gated ? kernels::Activation::kNone : config_.activation});
  if (config_.gated) {
    float* gated = inside + std::size_t{tokens()} * 2 * config_.intermediate;
    backend_->gate({.in = inside,
                    .out = gated,
                    .rows = tokens(),
                    .width = config_.intermediate,
                    .activation = config_.activation});
    inside = gated;
  }
  backend_->linear({.in = inside,
                    .weights = layer.narrow.get(),
                    .out = out,
                    .rows = tokens(),
                    .residual = residual});
}

void Encoder::norm(const float* in, const Norm& by, float* out) {
  backend_->layer_norm({.in = in,
                        .gamma = by.gamma.data(),
                        .beta = by.beta.data(),
                        .out = out,
                        .rows = tokens(),
                        .width = config_.width,
                        .epsilon = config_.epsilon});
}

}  // namespace nacelle::model
