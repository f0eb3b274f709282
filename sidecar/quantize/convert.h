// A model's folder with its weights stored by a scheme: a new folder beside it, which any loader of
// the source loads, too.
//
// f16 and bf16 hold every tensor of two dimensions and more. int8 replaces the weights of linear
// layers and leaves everything else as it is, in the form that the compressed-tensors library calls
// int-quantized (W8A8, a scale an output channel, activations quantized per token as they come):
//
//   <layer>.weight         I8   [outputs, inputs]
//   <layer>.weight_scale   F32  [outputs, 1]
//   config.json            quantization_config
//
// The bytes depend on the source and the scheme alone, so the new folder's content digest does.
#pragma once

#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/quantize/gate.h"
#include "sidecar/quantize/scheme.h"

namespace nacelle::quantize {

// A linear layer as a model runs it: the matrices that are one, e.g. a query's, a key's and a
// value's, by the names of the files, without ".weight".
using Layer = std::vector<std::string>;

struct Conversion {
  std::string source;  // a model's folder
  std::string target;  // the new one: must not exist, its parent must
  Scheme scheme = Scheme::kInt8;
  std::vector<Layer> layers;     // all linear layers, as model::Info has them
  std::vector<Layer> keep = {};  // those of them that stay as they are
};

// Every converted layer's distance from its source, worst first. The target appears whole or not at
// all, whenever the process dies: it is written as <target>.partial and renamed. kInvalid for
// weights that are not finite or do not fit the scheme, kUnavailable when the disk does not take
// it.
base::Result<std::vector<LayerDistance>> convert(const Conversion& conversion);

}  // namespace nacelle::quantize
