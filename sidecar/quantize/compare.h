// Runs a model and its quantized form on the same inputs, measures, and judges: the gate's report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/quantize/convert.h"
#include "sidecar/quantize/gate.h"
#include "sidecar/quantize/report.h"

namespace nacelle::quantize {

struct Comparison {
  std::string source;     // a model's folder
  std::string quantized;  // the other's
  // Texts as callers send them; for a model that reranks a query and a document with a tab between
  // them. Longer ones are cut to the model's limit.
  std::vector<std::string> inputs;
  std::uint64_t seed = 1;  // draws the queries that rank
  Thresholds thresholds = {};
  // So many of the inputs also go through the source with one layer quantized at a time, which
  // ranks the layers by what they do to the answers; 0 leaves that out. Costs a forward pass a
  // layer.
  std::size_t sensitivity_inputs = 0;
};

// Both models run on `backend`, in the arithmetic that their files ask for. What is compared: the
// logits of a classifier (cosine, flips), the order of a reranker's scores, the vectors of any
// other encoder (cosine, ranks); and every linear layer's weights. Errors say which model or input.
base::Result<Report> compare(const Comparison& comparison, kernels::Backend& backend);

struct Gated {
  Report report;
  std::vector<Layer> kept;  // those that stayed as they were, worst first
};
// Converts `comparison.source` to `comparison.quantized`, which must not exist, compares, and
// writes the report into the new folder, whatever the verdict: who loads it reads that. While the
// verdict is not pass, up to `keep_max` layers are kept as they are, the worst first by their worst
// part, and everything is done anew.
base::Result<Gated> quantize(Scheme scheme, Comparison comparison, std::size_t keep_max,
                             kernels::Backend& backend);

// The linear layers of a model's folder.
base::Result<std::vector<Layer>> layers_of(const std::string& folder, kernels::Backend& backend);

}  // namespace nacelle::quantize
