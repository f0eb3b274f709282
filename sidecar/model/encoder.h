// The body that all encoders share: token ids in, token vectors out. An architecture's file fills
// an EncoderConfig and EncoderWeights; what they say is all that differs.
//
//   tables -> norm (-> projection) -> layers -> (norm)
//
//   a layer, norms after       x = norm(x + attend(x));   x = norm(x + feed(x))           BERT
//   a layer, norms before      x = x + attend(norm(x));   x = x + feed(norm(x))     ModernBERT
//
// Each linear layer was packed for fp32, bf16 or int8, and reads its input so: what stands before
// it writes that directly where it can, else a quantize op stands between. The token vectors
// between two sublayers, the sums of residuals and the norms are fp32 always.
//
// A batch is computed in waves: as many whole sequences as fit kWaveTokens. Sequences do not see
// each other, so the split changes no bit of the answer; it bounds the workspace, which is
// allocated once, and keeps a wave's activations in the caches between two ops.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/model/encoder_config.h"
#include "sidecar/model/model.h"
#include "sidecar/model/weights.h"

namespace nacelle::model {

// Measured with all-MiniLM-L6-v2, 64 texts of 128 tokens, one AVX-512 thread, medians of three
// runs: 45.7 texts per CPU second at 512, 44.5 at 1024, 44.4 without waves; workspace and packed
// weights take 48, 53 and 119 MB.
inline constexpr std::uint32_t kWaveTokens = 512;     // a longer text is a wave of its own
inline constexpr std::uint32_t kWaveSequences = 128;  // bounds the rows of pooled vectors

// Cosines and sines of one base frequency: [positions, head_width / 2] each.
struct RotaryTable {
  std::vector<float> cosines;
  std::vector<float> sines;
};

struct Layer {
  std::unique_ptr<kernels::PackedLinear> qkv;     // width -> 3 width: query, key, value
  std::unique_ptr<kernels::PackedLinear> mix;     // width -> width: the attention's output
  Norm mix_norm;                                  // after the attention, or before it
  std::unique_ptr<kernels::PackedLinear> widen;   // width -> intermediate, twice that when gated
  std::unique_ptr<kernels::PackedLinear> narrow;  // intermediate -> width
  Norm out_norm;                                  // after the feed-forward part, or before it
  std::uint32_t window = kernels::Attention::kNoWindow;
  std::optional<std::size_t> rotary;  // which of EncoderWeights::rotary turns its queries and keys
};

struct EncoderWeights {
  kernels::Tensor words;
  kernels::Tensor positions;  // no data: the architecture has no such table
  kernels::Tensor types;      // no data: the architecture has no such table
  Norm embed_norm;
  std::unique_ptr<kernels::PackedLinear> project;  // embedding_width -> width, or none
  std::vector<Layer> layers;
  Norm final_norm;  // only with norms before the sublayers
  std::vector<RotaryTable> rotary;
  // MPNet's attention bias by distance, [heads, 2 * (tokens_max - 1) + 1]; empty for none.
  std::vector<float> attention_bias;
};

class Encoder {
 public:
  // `backend` outlives the encoder, as do the tables' bytes.
  static base::Result<Encoder> create(const EncoderConfig& config, EncoderWeights weights,
                                      kernels::Backend& backend);

  // The sequences of one wave after all layers; valid until the next forward().
  struct Wave {
    const float* hidden;           // [tokens, width]
    const std::uint32_t* offsets;  // [sequences + 1]
    std::uint32_t sequences;
  };
  // Sequences [first, last) of a batch that the caller has checked.
  Wave forward(const Packed& batch, std::size_t first, std::size_t last);

  // One past the last sequence of the wave that starts at `first`.
  [[nodiscard]] static std::size_t wave_end(std::span<const std::uint32_t> offsets,
                                            std::size_t first);

  [[nodiscard]] const EncoderConfig& config() const { return config_; }
  [[nodiscard]] std::uint64_t workspace_bytes() const;

 private:
  Encoder() = default;
  // Below, an input is what a linear layer reads: rows in the type that its format asks for.
  // The token vectors that the first layer starts from, to hidden_; as an input of `next`.
  kernels::RowsIn embed(const Packed& batch, std::uint32_t start, kernels::LinearFormat next);
  // From hidden_ and `in`, its input, to hidden_; as an input of `next`.
  kernels::RowsIn forward_layer(const Layer& layer, kernels::RowsIn in, kernels::LinearFormat next);
  // The attention sublayer of `in`, plus `residual`, to `out`; the same for the feed-forward part.
  void attend(const Layer& layer, kernels::RowsIn in, const float* residual, float* out);
  void feed(const Layer& layer, kernels::RowsIn in, const float* residual, float* out);
  // To `out`, and as an input of `next`.
  kernels::RowsIn norm(const float* in, const Norm& by, float* out, kernels::LinearFormat next);

  // `rows` of `width` as an input of `next`: themselves, or what a quantize op makes of them.
  kernels::RowsIn narrow(kernels::RowsIn rows, std::uint32_t width, kernels::LinearFormat next);
  // Where an input of `next` in fewer bits goes, nowhere for kF32, and what is there then. There is
  // room for one at a time, and no more are alive.
  [[nodiscard]] kernels::Narrowed narrowed(kernels::LinearFormat next) const;
  [[nodiscard]] kernels::RowsIn narrowed_or(const float* floats, kernels::LinearFormat next) const;

  [[nodiscard]] std::uint32_t tokens() const { return offsets_.back(); }
  [[nodiscard]] std::uint32_t sequences() const {
    return static_cast<std::uint32_t>(offsets_.size() - 1);
  }

  EncoderConfig config_;
  EncoderWeights weights_;
  kernels::Backend* backend_ = nullptr;
  std::vector<float> zeros_;  // [embedding_width]: the only row of a table that is not there

  // One wave. Rows are tokens.
  std::vector<std::uint32_t> offsets_;    // from 0
  std::vector<std::uint32_t> positions_;  // [tokens], when they do not simply count
  kernels::Buffer hidden_;                // [tokens, width]  the token vectors between two layers
  kernels::Buffer sum_;     // [tokens, width]  a sublayer's output plus its input, before the norm
  kernels::Buffer normed_;  // [tokens, width]  a sublayer's input, with norms before it
  kernels::Buffer wide_;    // [tokens, ...]    qkv and context, or the feed-forward part's inside
  kernels::Buffer narrow_;  // [tokens, ...]    an input in bf16, or its codes
  kernels::Buffer scales_;  // [tokens]         of the codes
};

}  // namespace nacelle::model
