// The architectures that this version runs. One is three functions: what its config.json says, and
// how the tensors of its encoder and of its classifier are named. All else is shared.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sidecar/model/classifier.h"
#include "sidecar/model/encoder.h"
#include "sidecar/model/fields.h"
#include "sidecar/model/weights.h"

namespace nacelle::model {

struct Architecture {
  // What config.json's "architectures" starts with: "Bert" of "BertForSequenceClassification".
  std::string_view name;

  // Reads and checks the config; problems are in `fields`.
  EncoderConfig (*config)(Fields& fields);
  // The encoder's tensors; problems are in `weights`. `fields` is of a config that has passed.
  EncoderWeights (*encoder)(Weights& weights, const EncoderConfig& config, Fields& fields);
  // The head of <name>ForSequenceClassification for so many labels; problems are in `weights` and
  // in `fields`.
  Classifier (*classifier)(Weights& weights, const EncoderConfig& config, std::uint32_t labels,
                           Fields& fields);
};

// All architectures.
std::span<const Architecture> all_architectures();

// One file each.
extern const Architecture kBert;        // bert.cc
extern const Architecture kCamembert;   // roberta.cc
extern const Architecture kDistilBert;  // distilbert.cc
extern const Architecture kElectra;     // electra.cc
extern const Architecture kModernBert;  // modernbert.cc
extern const Architecture kMpnet;       // mpnet.cc
extern const Architecture kRoberta;     // roberta.cc
extern const Architecture kXlmRoberta;  // roberta.cc

}  // namespace nacelle::model
