// How many tokens of a text a model reads.
#pragma once

#include <cstdint>
#include <string>

#include "sidecar/base/result.h"

namespace nacelle::model {

// The smallest of: `positions` (max_position_embeddings), max_seq_length of
// sentence_bert_config.json, and model_max_length of tokenizer_config.json; a file or field that is
// missing sets no limit, nor does a huge number (transformers writes 1e30 for "none").
base::Result<std::uint32_t> read_token_limit(const std::string& directory, std::uint32_t positions);

}  // namespace nacelle::model
