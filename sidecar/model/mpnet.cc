// MPNet: Song et al. 2020 (arXiv 2004.09297). A RoBERTa without token types, whose attention adds
// a learned number for the distance of two tokens, by buckets as in T5, the same in all layers.
#include <cstdint>

#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {
namespace {

constexpr PostNormNames kNames = {
    .attention = "attention.attn.",
    .qkv = {"q", "k", "v"},
    .mix = "attention.attn.o",
    .mix_norm = "attention.LayerNorm",
};

// Fixed in transformers' code, whatever pad_token_id and relative_attention_num_buckets are:
// padding_idx of the embeddings, and the buckets that the encoder asks for.
constexpr std::uint32_t kPad = 1;
constexpr std::uint32_t kBuckets = 32;
constexpr std::uint32_t kBucketsMax = 4096;

// The bucket of a token `ahead` behind (negative) or in front of the one that looks. Of the 16 for
// each side, 8 are for the distances below 8, and 8 for the rest, two for each doubling up to 128:
//
//   8 + floor(log(distance / 8) / log(128 / 8) * 8) = 8 + floor(2 log2(distance / 8))
//
// In whole numbers, so that no rounding moves a border: 2^k <= (distance / 8)^2.
std::uint32_t bucket_of(std::int64_t ahead) {
  constexpr std::uint32_t kSide = kBuckets / 2;
  constexpr std::uint32_t kExact = kSide / 2;
  const std::uint32_t side = ahead > 0 ? kSide : 0;
  const auto distance = static_cast<std::uint64_t>(ahead < 0 ? -ahead : ahead);
  if (distance < kExact) return side + static_cast<std::uint32_t>(distance);
  std::uint32_t bucket = kExact;
  while (bucket + 1 < kSide && distance * distance >= std::uint64_t{128} << (bucket - kExact)) {
    ++bucket;
  }
  return side + bucket;
}

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(fields);
  begin_positions_behind(kPad, fields, config);
  fields.count("relative_attention_num_buckets", kBuckets, kBucketsMax, kBuckets);
  return config;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& fields) {
  const std::string root = weights.prefix_of("mpnet.", "embeddings.word_embeddings.weight");
  EncoderWeights out = read_bert_tables(weights, root + "embeddings.", config);
  out.layers = read_post_norm_layers(weights, root + "encoder.layer.", config, kNames);

  const std::uint32_t rows =
      fields.count("relative_attention_num_buckets", kBuckets, kBucketsMax, kBuckets);
  const std::vector<float> by_bucket =
      weights.matrix(root + "encoder.relative_attention_bias.weight", rows, config.heads);
  if (by_bucket.empty()) return out;
  const std::int64_t reach = std::int64_t{config.tokens_max} - 1;
  for (std::size_t head = 0; head < config.heads; ++head) {
    for (std::int64_t ahead = -reach; ahead <= reach; ++ahead) {
      out.attention_bias.push_back(by_bucket[bucket_of(ahead) * std::size_t{config.heads} + head]);
    }
  }
  return out;
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& /*fields*/) {
  return read_dense_classifier(weights, "classifier.dense", kernels::Activation::kTanh,
                               "classifier.out_proj", config.width, labels);
}

}  // namespace

const Architecture kMpnet = {
    .name = "MPNet", .config = read_config, .encoder = read_encoder, .classifier = read_classifier};

}  // namespace nacelle::model
