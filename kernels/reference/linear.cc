// Linear: y[n] = activation(sum over k of x[k] * w[n][k] + bias[n]) + residual[n]
#include <cstddef>

#include "kernels/element.h"
#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
std::unique_ptr<Weights> pack(const LinearWeights& weights) {
  const Tensor& from = weights.weights;
  auto packed = std::make_unique<Weights>();
  packed->inputs = from.columns;
  packed->outputs = from.rows;
  packed->weights.resize(std::size_t{from.rows} * from.columns);
  for (std::size_t i = 0; i < packed->weights.size(); ++i) {
    packed->weights[i] = load_element(from.data, from.type, i);
  }
  packed->bias.assign(from.rows, 0.0F);
  if (weights.bias != nullptr) packed->bias.assign(weights.bias, weights.bias + from.rows);
  return packed;
}

void linear(const Linear& op, const Weights& weights) {
  const std::size_t inputs = weights.inputs;
  const std::size_t outputs = weights.outputs;
  for (std::size_t r = 0; r < op.rows; ++r) {
    for (std::size_t n = 0; n < outputs; ++n) {
      double sum = 0;
      for (std::size_t k = 0; k < inputs; ++k) {
        sum += double{op.in[r * inputs + k]} * double{weights.weights[n * inputs + k]};
      }
      double y = activate(sum + weights.bias[n], op.activation);
      if (op.residual != nullptr) y += op.residual[r * outputs + n];
      op.out[r * outputs + n] = static_cast<float>(y);
    }
  }
}

}  // namespace nacelle::kernels::reference
