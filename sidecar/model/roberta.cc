// RoBERTa: Liu et al. 2019 (arXiv 1907.11692), and XLM-RoBERTa and CamemBERT, which differ from it
// in name and vocabulary only. A BERT whose positions begin behind the padding token's id.
#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_layers.h"

namespace nacelle::model {
namespace {

constexpr std::uint32_t kPadDefault = 1;
constexpr std::uint32_t kPadMax = 1 << 22;

EncoderConfig read_config(Fields& fields) {
  EncoderConfig config = read_encoder_config(fields);
  require_absolute_positions(fields);
  config.types = read_types(fields);
  begin_positions_behind(fields.count("pad_token_id", 0, kPadMax, kPadDefault), fields, config);
  return config;
}

EncoderWeights read_encoder(Weights& weights, const EncoderConfig& config, Fields& /*fields*/) {
  return read_bert_encoder(weights, "roberta.", config);
}

Classifier read_classifier(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& /*fields*/) {
  return read_dense_classifier(weights, "classifier.dense", kernels::Activation::kTanh,
                               "classifier.out_proj", config.width, labels);
}

constexpr Architecture named(std::string_view name) {
  return {
      .name = name, .config = read_config, .encoder = read_encoder, .classifier = read_classifier};
}

}  // namespace

const Architecture kCamembert = named("Camembert");
const Architecture kRoberta = named("Roberta");
const Architecture kXlmRoberta = named("XLMRoberta");

}  // namespace nacelle::model
