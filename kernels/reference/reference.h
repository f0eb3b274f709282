// What the ops mean: one plain loop each, in the order of the formula, in double until the last
// step. Slow on purpose and never optimized; every backend is held to it by tests/kernels.
#pragma once

#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace nacelle::kernels::reference {

// The weights as the file has them, as floats: [outputs, inputs].
struct Weights : PackedLinear {
  std::vector<float> weights;
  std::vector<float> bias;  // [outputs], zeros when the layer has none
};

std::unique_ptr<Weights> pack(const LinearWeights& weights);

void embed(const EmbedNorm& op);
void linear(const Linear& op, const Weights& weights);
void rotary(const Rotary& op);
void attention(const Attention& op);
void gate(const Gate& op);
void layer_norm(const LayerNorm& op);
void pool(const Pool& op);
void normalize(const Normalize& op);

// The activation as a formula: linear() and gate() use it.
double activate(double x, Activation activation);

// One row of a LayerNorm: embed() ends with it too. `row` and the vectors are `width` long.
void normalize_row(const std::vector<double>& row, const float* gamma, const float* beta,
                   double epsilon, float* out);

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options);

}  // namespace nacelle::kernels::reference
