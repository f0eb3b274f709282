// See encoder_config.h. Names and defaults: transformers' configuration classes.
#include "sidecar/model/encoder_config.h"
#include "sidecar/model/quantization.h"

#include <array>
#include <string>

namespace nacelle::model {
namespace {

using kernels::Activation;

constexpr std::uint32_t kVocabularyMax = 1 << 22;
constexpr std::uint32_t kWidthMax = 1 << 13;
constexpr std::uint32_t kLayersMax = 128;
constexpr std::uint32_t kIntermediateMax = 1 << 15;
constexpr std::uint32_t kPositionsMax = 1 << 15;
constexpr std::uint32_t kTypesMax = 1 << 10;

struct NamedActivation {
  std::string_view name;
  Activation activation;
};

// transformers' ACT2FN.
constexpr std::array kActivations = {
    NamedActivation{"gelu", Activation::kGelu},
    NamedActivation{"gelu_python", Activation::kGelu},
    NamedActivation{"gelu_new", Activation::kGeluTanh},
    NamedActivation{"gelu_fast", Activation::kGeluTanh},
    NamedActivation{"gelu_pytorch_tanh", Activation::kGeluTanh},
    NamedActivation{"relu", Activation::kRelu},
    NamedActivation{"silu", Activation::kSilu},
    NamedActivation{"swish", Activation::kSilu},
    NamedActivation{"tanh", Activation::kTanh},
};

}  // namespace

Activation read_activation(Fields& fields, const char* name, std::string_view fallback) {
  const std::string value = fields.text(name, fallback);
  std::string known;
  for (const NamedActivation& entry : kActivations) {
    if (entry.name == value) return entry.activation;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fields.refuse(name, files::in_quotes(value) + " is not supported; this version knows " + known);
  return Activation::kNone;
}

EncoderConfig read_encoder_config(Fields& fields, const ConfigNames& names) {
  EncoderConfig config;
  config.vocabulary = fields.count("vocab_size", 1, kVocabularyMax);
  config.width = fields.count(names.width, 1, kWidthMax);
  config.embedding_width = config.width;
  config.layers = fields.count(names.layers, 1, kLayersMax);
  config.heads = fields.count(names.heads, 1, kWidthMax);
  config.intermediate = fields.count(names.intermediate, 1, kIntermediateMax);
  config.positions = fields.count("max_position_embeddings", 1, kPositionsMax);
  config.tokens_max = config.positions;
  config.epsilon = fields.positive(names.epsilon, 1, names.epsilon_default);
  config.activation = read_activation(fields, names.activation, "gelu");
  for (const char* name : {"is_decoder", "add_cross_attention"}) {
    if (fields.flag(name, false)) fields.refuse(name, "true is not supported: encoders only");
  }
  require_known_quantization(fields);
  if (config.width % config.heads != 0) {
    fields.refuse(names.width, std::to_string(config.width) + " is not a multiple of " +
                                   names.heads + ", " + std::to_string(config.heads));
  }
  return config;
}

std::uint32_t read_types(Fields& fields) {
  return fields.count("type_vocab_size", 1, kTypesMax, 2);
}

void require_absolute_positions(Fields& fields) {
  const std::string value = fields.text("position_embedding_type", "absolute");
  if (value != "absolute") {
    fields.refuse("position_embedding_type", files::in_quotes(value) +
                                                 " is not supported; this version knows "
                                                 "\"absolute\"");
  }
}

void begin_positions_behind(std::uint32_t pad_id, Fields& fields, EncoderConfig& config) {
  if (config.positions < 2 || pad_id > config.positions - 2) {
    fields.refuse("max_position_embeddings",
                  std::to_string(config.positions) + " leaves no position behind padding of id " +
                      std::to_string(pad_id) + ", where this architecture's positions begin");
    return;
  }
  config.pad_id = pad_id;
  config.tokens_max = config.positions - pad_id - 1;
}

}  // namespace nacelle::model
