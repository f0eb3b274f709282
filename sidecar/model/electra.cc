// ELECTRA's discriminator: Clark et al. 2020 (arXiv 2003.10555). A BERT whose tables may be
// narrower than its layers, and whose classifier has no pooler and a GELU.
#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {
namespace {

constexpr std::uint32_t kEmbeddingWidthMax = 1 << 13;

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(fields);
  require_absolute_positions(fields);
  config.types = read_types(fields);
  config.embedding_width = fields.count("embedding_size", 1, kEmbeddingWidthMax, 128);
  return config;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& /*fields*/) {
  return read_bert_encoder(weights, "electra.", config);
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& /*fields*/) {
  return read_dense_classifier(weights, "classifier.dense", kernels::Activation::kGelu,
                               "classifier.out_proj", config.width, labels);
}

}  // namespace

const Architecture kElectra = {.name = "Electra",
                               .config = read_config,
                               .encoder = read_encoder,
                               .classifier = read_classifier};

}  // namespace nacelle::model
