// DistilBERT: Sanh et al. 2019 (arXiv 1910.01108). A BERT without token types and pooler, under
// names of its own.
#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {
namespace {

constexpr PostNormNames kNames = {
    .attention = "attention.",
    .qkv = {"q_lin", "k_lin", "v_lin"},
    .mix = "attention.out_lin",
    .mix_norm = "sa_layer_norm",
    .widen = "ffn.lin1",
    .narrow = "ffn.lin2",
    .out_norm = "output_layer_norm",
};

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(fields, {.width = "dim",
                                                      .layers = "n_layers",
                                                      .heads = "n_heads",
                                                      .intermediate = "hidden_dim",
                                                      .activation = "activation"});
  config.epsilon = 1e-12F;  // in transformers' code, not in the file
  return config;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& /*fields*/) {
  const std::string root = weights.prefix_of("distilbert.", "embeddings.word_embeddings.weight");
  EncoderWeights out = read_bert_tables(weights, root + "embeddings.", config);
  out.layers = read_post_norm_layers(weights, root + "transformer.layer.", config, kNames);
  return out;
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& /*fields*/) {
  return read_dense_classifier(weights, "pre_classifier", kernels::Activation::kRelu, "classifier",
                               config.width, labels);
}

}  // namespace

const Architecture kDistilBert = {.name = "DistilBert",
                                  .config = read_config,
                                  .encoder = read_encoder,
                                  .classifier = read_classifier};

}  // namespace nacelle::model
