// See bert_config.h. Names and defaults: transformers' BertConfig.
#include "sidecar/model/bert_config.h"

#include "sidecar/model/fields.h"

namespace nacelle::model {
namespace {

constexpr std::uint32_t kVocabularyMax = 1 << 22;
constexpr std::uint32_t kWidthMax = 1 << 13;
constexpr std::uint32_t kLayersMax = 128;
constexpr std::uint32_t kIntermediateMax = 1 << 15;
constexpr std::uint32_t kPositionsMax = 1 << 15;
constexpr std::uint32_t kTypesMax = 1 << 10;

// A field whose value must be `only`, or missing.
void require(Fields& fields, const char* name, std::string_view only) {
  const std::string value = fields.text(name, only);
  if (value != only) {
    fields.refuse(name, files::in_quotes(value) + " is not supported; this version knows " +
                            files::in_quotes(only));
  }
}

}  // namespace

base::Result<BertConfig> read_bert_config(const files::Json& json, const std::string& file) {
  Fields fields(json, file);
  BertConfig config;
  config.vocabulary = fields.count("vocab_size", 1, kVocabularyMax);
  config.width = fields.count("hidden_size", 1, kWidthMax);
  config.layers = fields.count("num_hidden_layers", 1, kLayersMax);
  config.heads = fields.count("num_attention_heads", 1, kWidthMax);
  config.intermediate = fields.count("intermediate_size", 1, kIntermediateMax);
  config.positions = fields.count("max_position_embeddings", 1, kPositionsMax);
  config.types = fields.count("type_vocab_size", 1, kTypesMax, 2);
  config.epsilon = fields.positive("layer_norm_eps", 1, 1e-12F);
  require(fields, "hidden_act", "gelu");
  require(fields, "position_embedding_type", "absolute");
  for (const char* name : {"is_decoder", "add_cross_attention"}) {
    if (fields.flag(name, false)) fields.refuse(name, "true is not supported: encoders only");
  }
  if (fields.find("quantization_config") != nullptr) {
    fields.refuse("quantization_config", "quantized weights are not supported: use the original");
  }
  if (config.width % config.heads != 0) {
    fields.refuse("hidden_size", std::to_string(config.width) + " is not a multiple of " +
                                     "num_attention_heads, " + std::to_string(config.heads));
  }
  if (const auto status = fields.status(); !status) return status.error();
  return config;
}

}  // namespace nacelle::model
