// Tensors under BERT's names, which RoBERTa and ELECTRA share, and layers with norms after the
// sublayers under any names.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "sidecar/model/encoder.h"

namespace nacelle::model {

// The names inside a layer.
struct PostNormNames {
  std::string_view attention = "attention.self.";  // before each of qkv
  std::array<std::string_view, 3> qkv = {"query", "key", "value"};
  std::string_view mix = "attention.output.dense";
  std::string_view mix_norm = "attention.output.LayerNorm";
  std::string_view widen = "intermediate.dense";
  std::string_view narrow = "output.dense";
  std::string_view out_norm = "output.LayerNorm";
};

// The layers <prefix>0., <prefix>1., ...
std::vector<Layer> read_post_norm_layers(Weights& weights, const std::string& prefix,
                                         const EncoderConfig& config,
                                         const PostNormNames& names = {});

// <prefix>word_embeddings, position_embeddings, token_type_embeddings (when the config has types)
// and LayerNorm.
EncoderWeights read_bert_tables(Weights& weights, const std::string& prefix,
                                const EncoderConfig& config);

// Tables and layers as BERT names them, under `root` or, in a bare encoder's file, under no name.
EncoderWeights read_bert_encoder(Weights& weights, std::string_view root,
                                 const EncoderConfig& config);

}  // namespace nacelle::model
