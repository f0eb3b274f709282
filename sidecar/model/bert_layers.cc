// See bert_layers.h.
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {

std::vector<Layer> read_post_norm_layers(Weights& weights, const std::string& prefix,
                                         const EncoderConfig& config, const PostNormNames& names) {
  const std::uint32_t width = config.width;
  std::vector<Layer> layers;
  for (std::uint32_t i = 0; i < config.layers && weights.status(); ++i) {
    const std::string at = prefix + std::to_string(i) + ".";
    const auto name = [&](std::string_view part) { return at + std::string(part); };
    Layer layer;
    layer.qkv = weights.body(name(names.attention), names.qkv, width, width);
    layer.mix = weights.body(name(names.mix), width, width);
    layer.mix_norm = weights.norm(name(names.mix_norm), width);
    layer.widen = weights.body(name(names.widen), config.intermediate, width);
    layer.narrow = weights.body(name(names.narrow), width, config.intermediate);
    layer.out_norm = weights.norm(name(names.out_norm), width);
    layers.push_back(std::move(layer));
  }
  return layers;
}

EncoderWeights read_bert_tables(Weights& weights, const std::string& prefix,
                                const EncoderConfig& config) {
  const std::uint32_t width = config.embedding_width;
  EncoderWeights out;
  out.words = weights.table(prefix + "word_embeddings.weight", config.vocabulary, width);
  out.positions = weights.table(prefix + "position_embeddings.weight", config.positions, width);
  if (config.types > 0) {
    out.types = weights.table(prefix + "token_type_embeddings.weight", config.types, width);
  }
  out.embed_norm = weights.norm(prefix + "LayerNorm", width);
  return out;
}

EncoderWeights read_bert_encoder(Weights& weights, std::string_view root,
                                 const EncoderConfig& config) {
  const std::string prefix = weights.prefix_of(root, "embeddings.word_embeddings.weight");
  EncoderWeights out = read_bert_tables(weights, prefix + "embeddings.", config);
  if (config.embedding_width != config.width) {
    out.project =
        weights.linear(prefix + "embeddings_project", config.width, config.embedding_width);
  }
  out.layers = read_post_norm_layers(weights, prefix + "encoder.layer.", config);
  return out;
}

}  // namespace nacelle::model
