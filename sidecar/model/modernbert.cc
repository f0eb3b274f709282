// ModernBERT: Warner et al. 2024 (arXiv 2412.13663). Norms before the sublayers, rotary positions,
// a gated feed-forward part, and layers that see a window only, with a rotary base of their own.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "sidecar/model/architectures.h"

namespace nacelle::model {
namespace {

constexpr std::uint32_t kWindowMax = 1 << 16;
constexpr std::uint32_t kEveryMax = 1 << 10;
constexpr float kThetaMax = 1e12F;

// The two kinds of layers, in the order of EncoderWeights::rotary.
enum Kind : std::size_t { kGlobal = 0, kLocal = 1 };
constexpr std::array kKinds = {"full_attention", "sliding_attention"};

// layer_types, or by global_attn_every_n_layers in older files.
std::vector<Kind> read_kinds(Fields& fields, std::uint32_t layers) {
  std::vector<Kind> kinds;
  const files::Json* types = fields.find("layer_types");
  if (types == nullptr) {
    const std::uint32_t every = fields.count("global_attn_every_n_layers", 1, kEveryMax, 3);
    for (std::uint32_t i = 0; i < layers; ++i) kinds.push_back(i % every == 0 ? kGlobal : kLocal);
    return kinds;
  }
  kinds.assign(layers, kGlobal);
  const bool fits = types->is_array() && types->size() == layers;
  if (!fits) fields.refuse("layer_types", "must have one entry for each hidden layer");
  for (std::size_t i = 0; fits && i < layers; ++i) {
    const files::Json& type = (*types)[i];
    if (type == kKinds[kLocal]) {
      kinds[i] = kLocal;
    } else if (type != kKinds[kGlobal]) {
      fields.refuse("layer_types", shown(type) + " is not supported");
    }
  }
  return kinds;
}

// The base of a kind's rotary angles: rope_parameters.<kind>.rope_theta, or the older fields.
float read_theta(Fields& fields, Kind kind) {
  const float fallback = kind == kGlobal ? 160'000.0F : 10'000.0F;
  if (fields.find("rope_scaling") != nullptr) {
    fields.refuse("rope_scaling", "is not supported");
  }
  const files::Json* all = fields.find("rope_parameters");
  if (all == nullptr) {
    return fields.positive(kind == kGlobal ? "global_rope_theta" : "local_rope_theta", kThetaMax,
                           fallback);
  }
  const auto own = all->is_object() ? all->find(kKinds[kind]) : all->end();
  if (own == all->end() || !own->is_object()) {
    fields.refuse("rope_parameters", "has no object " + files::in_quotes(kKinds[kind]));
    return fallback;
  }
  const std::string place = "rope_parameters." + std::string(kKinds[kind]);
  Fields inner(*own, place);
  const float theta = inner.positive("rope_theta", kThetaMax, fallback);
  if (inner.text("rope_type", "default") != "default") {
    inner.refuse("rope_type", "only \"default\" is supported");
  }
  if (const auto status = inner.status(); !status) {
    fields.refuse("rope_parameters", status.error().message);
  }
  return theta;
}

Bias read_bias(Fields& fields, const char* name) {
  return fields.flag(name, false) ? Bias::kPresent : Bias::kNone;
}

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(
      fields, {.activation = "hidden_activation", .epsilon = "norm_eps", .epsilon_default = 1e-5F});
  config.positions = 0;  // no table
  config.gated = true;
  config.norm_first = true;
  if (config.width / config.heads % 2 != 0) {
    fields.refuse("num_attention_heads", "heads of " + std::to_string(config.width / config.heads) +
                                             " floats cannot be rotated: they must be even");
  }
  fields.count("local_attention", 2, kWindowMax, 128);
  // The encoder reads them again, when they are known to be good.
  for (const Kind kind : {kGlobal, kLocal}) read_theta(fields, kind);
  if (fields.status()) read_kinds(fields, config.layers);
  for (const char* name : {"norm_bias", "attention_bias", "mlp_bias", "classifier_bias"}) {
    read_bias(fields, name);
  }
  return config;
}

// Angle of pair d at a position: position / theta^(2 d / head_width), rounded to float at each step
// as torch does, because at thousands of positions such an error is worth several digits.
RotaryTable rotary_table(float theta, std::uint32_t head_width, std::uint32_t positions) {
  RotaryTable table;
  for (std::uint32_t position = 0; position < positions; ++position) {
    for (std::uint32_t d = 0; d < head_width; d += 2) {
      const float exponent = static_cast<float>(d) / static_cast<float>(head_width);
      const float frequency = 1.0F / std::pow(theta, exponent);
      const float angle = static_cast<float>(position) * frequency;
      table.cosines.push_back(static_cast<float>(std::cos(double{angle})));
      table.sines.push_back(static_cast<float>(std::sin(double{angle})));
    }
  }
  return table;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& fields) {
  const std::uint32_t width = config.width;
  const Bias norm_bias = read_bias(fields, "norm_bias");
  const Bias attention_bias = read_bias(fields, "attention_bias");
  const Bias mlp_bias = read_bias(fields, "mlp_bias");
  const std::string root = weights.prefix_of("model.", "embeddings.tok_embeddings.weight");

  EncoderWeights out;
  out.words = weights.table(root + "embeddings.tok_embeddings.weight", config.vocabulary, width);
  out.embed_norm = weights.norm(root + "embeddings.norm", width, norm_bias);
  const std::vector<Kind> kinds = read_kinds(fields, config.layers);
  for (std::size_t i = 0; i < config.layers && weights.status(); ++i) {
    const std::string at = root + "layers." + std::to_string(i) + ".";
    Layer layer;
    // The tables' norm serves the first layer.
    if (i > 0) layer.mix_norm = weights.norm(at + "attn_norm", width, norm_bias);
    layer.qkv = weights.body(at + "attn.Wqkv", 3 * width, width, attention_bias);
    layer.mix = weights.body(at + "attn.Wo", width, width, attention_bias);
    layer.out_norm = weights.norm(at + "mlp_norm", width, norm_bias);
    layer.widen = weights.body(at + "mlp.Wi", 2 * config.intermediate, width, mlp_bias);
    layer.narrow = weights.body(at + "mlp.Wo", width, config.intermediate, mlp_bias);
    layer.rotary = kinds[i];
    // local_attention counts both sides.
    if (kinds[i] == kLocal) layer.window = fields.count("local_attention", 2, kWindowMax, 128) / 2;
    out.layers.push_back(std::move(layer));
  }
  out.final_norm = weights.norm(root + "final_norm", width, norm_bias);
  if (!weights.status()) return out;
  for (const Kind kind : {kGlobal, kLocal}) {
    out.rotary.push_back(
        rotary_table(read_theta(fields, kind), width / config.heads, config.tokens_max));
  }
  return out;
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& fields) {
  const std::string pooling = fields.text("classifier_pooling", "cls");
  if (pooling != "cls" && pooling != "mean") {
    fields.refuse("classifier_pooling",
                  files::in_quotes(pooling) + " is not supported; there are \"cls\" and \"mean\"");
  }
  return {.pooling = pooling == "mean" ? kernels::Pooling::kMean : kernels::Pooling::kFirst,
          .dense = weights.linear("head.dense", config.width, config.width,
                                  read_bias(fields, "classifier_bias")),
          .activation = read_activation(fields, "classifier_activation", "gelu"),
          .norm = weights.norm("head.norm", config.width, read_bias(fields, "norm_bias")),
          .out = weights.linear("classifier", labels, config.width)};
}

}  // namespace

const Architecture kModernBert = {.name = "ModernBert",
                                  .config = read_config,
                                  .encoder = read_encoder,
                                  .classifier = read_classifier};

}  // namespace nacelle::model
