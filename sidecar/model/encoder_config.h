// What every encoder's config.json says, under names that differ by architecture.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/kernels.h"
#include "sidecar/model/fields.h"

namespace nacelle::model {

// The shape of an encoder. Its floats per token are `width`, in all layers.
struct EncoderConfig {
  std::uint32_t vocabulary = 0;  // rows of the word table
  std::uint32_t width = 0;
  std::uint32_t embedding_width = 0;  // of the tables; other than width in ELECTRA
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;         // divides width
  std::uint32_t intermediate = 0;  // floats per token inside the feed-forward part
  std::uint32_t positions = 0;     // rows of the position table; 0 when there is none
  std::uint32_t types = 0;         // rows of the table of token types; 0 when there is none
  std::uint32_t tokens_max = 0;    // per text: as the positions allow, or fewer
  float epsilon = 0;               // of every LayerNorm
  kernels::Activation activation = kernels::Activation::kGelu;
  bool gated = false;       // activation(first half) * second half inside the feed-forward part
  bool norm_first = false;  // norms before a sublayer and one at the end, instead of after each
  // RoBERTa's positions: the i-th token (from 1) that is not padding has position `pad_id` + i, and
  // padding, which a text may spell out, has position `pad_id`.
  std::optional<std::uint32_t> pad_id;
};

// Where config.json has the common fields.
struct ConfigNames {
  const char* width = "hidden_size";
  const char* layers = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* intermediate = "intermediate_size";
  const char* activation = "hidden_act";
  const char* epsilon = "layer_norm_eps";
  float epsilon_default = 1e-12F;
};

// Reads the common fields, and max_position_embeddings as positions and tokens_max; refuses
// decoders and quantized weights. The upper bounds are several times the largest encoder there is;
// they keep every product of two in 64 bits. Problems are in `fields`.
EncoderConfig read_encoder_config(Fields& fields, const ConfigNames& names = {});

// type_vocab_size: rows of the table of token types.
std::uint32_t read_types(Fields& fields);

// Refuses other positions than absolute ones (position_embedding_type).
void require_absolute_positions(Fields& fields);

// Sets pad_id, and tokens_max to the rows that are then left for tokens.
void begin_positions_behind(std::uint32_t pad_id, Fields& fields, EncoderConfig& config);

// An activation by the name that transformers gives it ("gelu", "gelu_new", "relu", "silu", ...).
kernels::Activation read_activation(Fields& fields, const char* name, std::string_view fallback);

}  // namespace nacelle::model
