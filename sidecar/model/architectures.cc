// THE LIST of architectures. To add one: docs/adding/architecture.md.
#include "sidecar/model/architectures.h"

#include <array>

namespace nacelle::model {
namespace {

constexpr std::array kArchitectures = {
    Architecture{"BertForSequenceClassification", load_bert_classifier},
    Architecture{"BertModel", load_bert},
};

}  // namespace

std::span<const Architecture> all_architectures() { return kArchitectures; }

}  // namespace nacelle::model
