// What config.json says of quantized weights: one scheme is known, the one that kernels/linear.h
// calls kInt8 and the compressed-tensors library int-quantized.
#pragma once

#include "sidecar/model/fields.h"

namespace nacelle::model {

// Refuses a "quantization_config" that is anything else than: 8-bit symmetric integers, weights
// with a scale an output channel, activations with a scale a token as they come.
void require_known_quantization(Fields& fields);

}  // namespace nacelle::model
