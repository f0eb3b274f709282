// How token vectors become one vector per text, as a model's sentence-transformers files say:
// modules.json lists the steps, <n>_Pooling/config.json holds the mode.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"

namespace nacelle::model {

// Without modules.json: the mean over all tokens, special ones included, scaled to L2 norm 1. It is
// what most encoders are used with; a model that wants something else says so in modules.json.
struct SentencePooling {
  kernels::Pooling mode = kernels::Pooling::kMean;
  bool normalize = true;
};

// Reads `directory`'s files for a model whose token vectors have `width` floats. The steps must be
// Transformer (in the folder itself), Pooling and at most one Normalize, in this order; the mode
// must be mean or cls. Everything else is kInvalid with the file, what it says and what is known.
base::Result<SentencePooling> read_pooling(const std::string& directory, std::uint32_t width);

}  // namespace nacelle::model
