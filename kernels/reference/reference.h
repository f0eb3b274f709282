// What the ops mean: one plain loop each, in the order of the formula, in double until the last
// step. Slow on purpose and never optimized; every backend is held to it by tests/kernels.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace nacelle::kernels::reference {

// Floats [outputs, inputs] as the format rounds them: for kInt8 the codes, whose scales are apart.
base::Result<std::unique_ptr<PackedLinear>> pack(const LinearWeights& weights);
PackedShape packed_shape(LinearFormat format, std::uint32_t inputs, std::uint32_t outputs);

void embed(const EmbedNorm& op);
void linear(const Linear& op);
void rotary(const Rotary& op);
void attention(const Attention& op);
void gate(const Gate& op);
void layer_norm(const LayerNorm& op);
void pool(const Pool& op);
void normalize(const Normalize& op);

// The activation as a formula: linear() and gate() use it.
double activate(double x, Activation activation);
void quantize(const Quantize& op);

// Number `index` of an output, rounded as its type wants.
void store_element(const RowsOut& out, std::size_t index, float x);

// The narrow copies of row `row`.
void narrow_row(const float* in, std::size_t row, std::size_t width, const Narrowed& out);

// One row of a LayerNorm: embed() ends with it too. `row` and the vectors are `width` long.
void normalize_row(const std::vector<double>& row, const float* gamma, const float* beta,
                   double epsilon, float* out);

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options);

}  // namespace nacelle::kernels::reference
