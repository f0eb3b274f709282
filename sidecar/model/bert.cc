// BERT: Devlin et al. 2018 (arXiv 1810.04805). Its classifier looks at the pooler's output.
#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {
namespace {

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(fields);
  require_absolute_positions(fields);
  config.types = read_types(fields);
  return config;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& /*fields*/) {
  return read_bert_encoder(weights, "bert.", config);
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& /*fields*/) {
  const std::string root = weights.prefix_of("bert.", "embeddings.word_embeddings.weight");
  return read_dense_classifier(weights, root + "pooler.dense", kernels::Activation::kTanh,
                               "classifier", config.width, labels);
}

}  // namespace

const Architecture kBert = {
    .name = "Bert", .config = read_config, .encoder = read_encoder, .classifier = read_classifier};

}  // namespace nacelle::model
