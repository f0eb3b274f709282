// An encoder with its tokenizer and heads, as a Model.
#pragma once

#include <memory>
#include <optional>

#include "sidecar/model/classifier.h"
#include "sidecar/model/encoder.h"
#include "sidecar/model/model.h"
#include "sidecar/model/sentence.h"
#include "sidecar/model/weights.h"

namespace nacelle::model {

// Everything that load reads and run computes with.
struct EncoderParts {
  Info info;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  Weights weights;  // keeps the tables' mapping
  Encoder encoder;
  Sentence sentence;
  Classifier classifier;            // empty when the model has no labels
  kernels::Buffer classifier_rows;  // its workspace
};

std::unique_ptr<Model> make_encoder_model(EncoderParts parts, kernels::Backend& backend);

}  // namespace nacelle::model
