// The labels of a classifier, from config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/files/json.h"
#include "sidecar/model/model.h"

namespace nacelle::model {

inline constexpr std::uint32_t kLabelsMax = 4096;
inline constexpr std::uint32_t kLabelSizeMax = 256;  // bytes

struct Labels {
  std::vector<std::string> names;  // by index
  bool multi_label = false;        // each label stands alone (sigmoid), else one wins (softmax)
  ScoreFunction score = ScoreFunction::kSoftmax;  // what the file says, or follows from the above
};

// id2label must name 0 .. n-1, each once; without it the names are LABEL_0 ...
// LABEL_<num_labels-1>. A single label is scored alone. problem_type "regression" is refused where
// there are several labels: such an output is no score.
//
// The score function is sentence-transformers' for one label (a cross-encoder): the class of torch
// in sentence_transformers.activation_fn, in sbert_ce_default_activation_function, or
// `score_class`, the first that is not empty; else the sigmoid.
base::Result<Labels> read_labels(const files::Json& config, const std::string& file,
                                 const std::string& score_class);

}  // namespace nacelle::model
