// What a BERT's config.json says, checked.
#pragma once

#include <cstdint>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/files/json.h"

namespace nacelle::model {

struct BertConfig {
  std::uint32_t vocabulary = 0;    // rows of the word table
  std::uint32_t width = 0;         // floats per token: hidden_size
  std::uint32_t layers = 0;        // num_hidden_layers
  std::uint32_t heads = 0;         // num_attention_heads; divides width
  std::uint32_t intermediate = 0;  // floats per token inside the feed-forward part
  std::uint32_t positions = 0;     // max_position_embeddings
  std::uint32_t types = 0;         // type_vocab_size
  float epsilon = 0;               // layer_norm_eps
};

// Reads the fields above and refuses what this version would compute wrongly: another activation
// than the exact gelu, other positions than absolute ones, decoders, quantized weights. The upper
// bounds are several times the largest BERT there is; they keep every product of two in 64 bits.
base::Result<BertConfig> read_bert_config(const files::Json& json, const std::string& file);

}  // namespace nacelle::model
