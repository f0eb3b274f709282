// See encoder.h.
#include "sidecar/model/encoder.h"

#include <algorithm>
#include <utility>

namespace nacelle::model {
namespace {

using kernels::LinearFormat;
using kernels::RowsIn;
using kernels::RowsOut;

// Floats per token in Encoder::wide_.
std::size_t wide_width(const EncoderConfig& config) {
  const std::size_t attention = 4 * std::size_t{config.width};
  const std::size_t feed = (config.gated ? 3 : 1) * std::size_t{config.intermediate};
  return std::max({attention, feed, std::size_t{config.embedding_width}});
}

// Numbers per token in Encoder::narrow_: the widest input of a linear layer.
std::size_t narrow_width(const EncoderConfig& config) {
  return std::max<std::size_t>(config.width, config.intermediate);
}

// Bytes per number in Encoder::narrow_: what the layers' formats need at most.
std::size_t narrow_size(const EncoderWeights& weights) {
  std::size_t size = 0;
  for (const Layer& layer : weights.layers) {
    for (const auto* linear :
         {layer.qkv.get(), layer.mix.get(), layer.widen.get(), layer.narrow.get()}) {
      if (linear->format == LinearFormat::kBF16) size = sizeof(std::uint16_t);
      if (linear->format == LinearFormat::kInt8) size = std::max<std::size_t>(size, 1);
    }
  }
  return size;
}

// The rows that go from a layer in one format to one in another: halves unless one of them needs
// floats. In `space`, which has room for floats.
RowsOut between(LinearFormat from, LinearFormat to, void* space) {
  const bool floats = from == LinearFormat::kF32 || to == LinearFormat::kF32;
  return floats ? RowsOut(static_cast<float*>(space))
                : RowsOut::bf16(static_cast<std::uint16_t*>(space));
}

RowsIn read_back(const RowsOut& rows) {
  return rows.type == kernels::ElementType::kF32
             ? RowsIn(static_cast<const float*>(rows.data))
             : RowsIn::bf16(static_cast<const std::uint16_t*>(rows.data));
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
  const std::size_t narrow = narrow_size(encoder.weights_);
  for (const auto& [buffer, bytes] :
       {std::pair{&encoder.hidden_, config.width * sizeof(float)},
        std::pair{&encoder.sum_, config.width * sizeof(float)},
        std::pair{&encoder.normed_, config.norm_first ? config.width * sizeof(float) : 0},
        std::pair{&encoder.wide_, wide_width(config) * sizeof(float)},
        std::pair{&encoder.narrow_, narrow_width(config) * narrow},
        std::pair{&encoder.scales_, narrow > 0 ? sizeof(float) : 0}}) {
    if (bytes == 0) continue;
    auto allocated = backend.allocate(tokens * bytes);
    if (!allocated) return allocated.error();
    *buffer = std::move(*allocated);
  }
  return encoder;
}

std::uint64_t Encoder::workspace_bytes() const {
  return hidden_.size() + sum_.size() + normed_.size() + wide_.size() + narrow_.size() +
         scales_.size();
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

  const std::vector<Layer>& layers = weights_.layers;
  const auto format = [&](std::size_t i) {  // that layer i reads the token vectors in
    return i < layers.size() && !config_.norm_first ? layers[i].qkv->format : LinearFormat::kF32;
  };
  RowsIn in = embed(batch, start, format(0));
  for (std::size_t i = 0; i < layers.size(); ++i) in = forward_layer(layers[i], in, format(i + 1));
  auto* hidden = hidden_.as<float>();
  if (config_.norm_first) norm(hidden, weights_.final_norm, hidden, LinearFormat::kF32);
  return {.hidden = hidden, .offsets = offsets_.data(), .sequences = sequences()};
}

RowsIn Encoder::embed(const Packed& batch, std::uint32_t start, LinearFormat next) {
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
                   .epsilon = config_.epsilon,
                   .narrowed = weights_.project ? kernels::Narrowed{} : narrowed(next)});
  if (!weights_.project) return narrowed_or(hidden, next);
  backend_->linear(
      {.in = embedded, .weights = weights_.project.get(), .out = hidden, .rows = tokens()});
  return narrow(hidden, config_.width, next);
}

RowsIn Encoder::forward_layer(const Layer& layer, RowsIn in, LinearFormat next) {
  auto* hidden = hidden_.as<float>();
  auto* sum = sum_.as<float>();
  if (!config_.norm_first) {
    attend(layer, in, hidden, sum);
    in = norm(sum, layer.mix_norm, hidden, layer.widen->format);
    feed(layer, in, hidden, sum);
    return norm(sum, layer.out_norm, hidden, next);
  }
  auto* normed = normed_.as<float>();
  const bool is_normed = !layer.mix_norm.gamma.empty();  // ModernBERT's first layer: by the tables'
  in = is_normed ? norm(hidden, layer.mix_norm, normed, layer.qkv->format)
                 : narrow(hidden, config_.width, layer.qkv->format);
  attend(layer, in, hidden, sum);
  in = norm(sum, layer.out_norm, normed, layer.widen->format);
  feed(layer, in, sum, hidden);
  return hidden;
}

void Encoder::attend(const Layer& layer, RowsIn in, const float* residual, float* out) {
  const std::uint32_t head_width = config_.width / config_.heads;
  auto* floats = wide_.as<float>();
  // Queries and keys are turned as floats.
  const RowsOut qkv =
      layer.rotary ? RowsOut(floats) : between(layer.qkv->format, layer.qkv->format, floats);
  const RowsOut context = between(layer.mix->format, layer.mix->format,
                                  floats + std::size_t{tokens()} * 3 * config_.width);
  backend_->linear({.in = in, .weights = layer.qkv.get(), .out = qkv, .rows = tokens()});
  if (layer.rotary) {
    const RotaryTable& table = weights_.rotary[*layer.rotary];
    backend_->rotary({.qkv = floats,
                      .offsets = offsets_.data(),
                      .cosines = table.cosines.data(),
                      .sines = table.sines.data(),
                      .sequences = sequences(),
                      .heads = config_.heads,
                      .head_width = head_width,
                      .positions = config_.tokens_max});
  }
  const bool biased = !weights_.attention_bias.empty();
  backend_->attention({.qkv = read_back(qkv),
                       .offsets = offsets_.data(),
                       .out = context,
                       .sequences = sequences(),
                       .heads = config_.heads,
                       .head_width = head_width,
                       .bias = biased ? weights_.attention_bias.data() : nullptr,
                       .bias_reach = biased ? config_.tokens_max - 1 : 0,
                       .window = layer.window});
  backend_->linear({.in = narrow(read_back(context), config_.width, layer.mix->format),
                    .weights = layer.mix.get(),
                    .out = out,
                    .rows = tokens(),
                    .residual = residual});
}

void Encoder::feed(const Layer& layer, RowsIn in, const float* residual, float* out) {
  auto* floats = wide_.as<float>();
  RowsOut inside =
      config_.gated ? RowsOut(floats) : between(layer.widen->format, layer.narrow->format, floats);
  backend_->linear({.in = in,
                    .weights = layer.widen.get(),
                    .out = inside,
                    .rows = tokens(),
                    .activation = config_.gated ? kernels::Activation::kNone : config_.activation});
  if (config_.gated) {
    float* gated = floats + std::size_t{tokens()} * 2 * config_.intermediate;
    backend_->gate({.in = floats,
                    .out = gated,
                    .rows = tokens(),
                    .width = config_.intermediate,
                    .activation = config_.activation});
    inside = gated;
  }
  backend_->linear({.in = narrow(read_back(inside), config_.intermediate, layer.narrow->format),
                    .weights = layer.narrow.get(),
                    .out = out,
                    .rows = tokens(),
                    .residual = residual});
}

RowsIn Encoder::norm(const float* in, const Norm& by, float* out, LinearFormat next) {
  backend_->layer_norm({.in = in,
                        .gamma = by.gamma.data(),
                        .beta = by.beta.data(),
                        .out = out,
                        .rows = tokens(),
                        .width = config_.width,
                        .epsilon = config_.epsilon,
                        .narrowed = narrowed(next)});
  return narrowed_or(out, next);
}

RowsIn Encoder::narrow(RowsIn rows, std::uint32_t width, LinearFormat next) {
  if (next == LinearFormat::kF32) return rows;
  if (next == LinearFormat::kBF16 && rows.type == kernels::ElementType::kBF16) return rows;
  backend_->quantize({.in = rows, .out = narrowed(next), .rows = tokens(), .width = width});
  return narrowed_or(nullptr, next);
}

kernels::Narrowed Encoder::narrowed(LinearFormat next) const {
  kernels::Narrowed out;
  if (next == LinearFormat::kBF16) out.bf16 = narrow_.as<std::uint16_t>();
  if (next == LinearFormat::kInt8) {
    out.codes = narrow_.as<std::int8_t>();
    out.scales = scales_.as<float>();
  }
  return out;
}

RowsIn Encoder::narrowed_or(const float* floats, LinearFormat next) const {
  switch (next) {
    case LinearFormat::kF32:
      return floats;
    case LinearFormat::kBF16:
      return RowsIn::bf16(narrow_.as<std::uint16_t>());
    case LinearFormat::kInt8:
      return RowsIn::codes(narrow_.as<std::int8_t>(), scales_.as<float>());
  }
  return floats;
}

}  // namespace nacelle::model
