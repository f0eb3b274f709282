// A layer's weights row by row as its format wants them, whatever the file has: what every
// backend's pack() reads.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/linear.h"

namespace nacelle::kernels {

// Row `n` as floats, `out` being [inputs]: exact, but for codes, whose product with the scale is
// rounded.
void weight_floats(const LinearWeights& weights, std::size_t n, std::span<float> out);

// Row `n` as codes, `out` being [inputs]: those of the file, or made by the rule of quantize.h.
// Returns the scale.
float weight_codes(const LinearWeights& weights, std::size_t n, std::span<std::int8_t> out);

}  // namespace nacelle::kernels
