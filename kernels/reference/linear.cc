// Linear: y[n] = activation(sum over k of x[k] * w[n][k] + bias[n]) + residual[n]
#include <cstddef>

#include "kernels/element.h"
#include "kernels/reference/reference.h"
#include "kernels/weight_rows.h"
#include "sidecar/base/bytes.h"

namespace nacelle::kernels::reference {
PackedShape packed_shape(LinearFormat format, std::uint32_t inputs, std::uint32_t outputs) {
  static constexpr std::string_view kLayouts[kLinearFormats] = {
      "reference/f32/1", "reference/bf16/1", "reference/int8/1"};
  const auto size = base::checked_mul(std::uint64_t{inputs} * outputs, sizeof(float));
  return {.layout = kLayouts[static_cast<std::size_t>(format)],
          .format = format,
          .columns = outputs,
          .weights_size = size.value_or(UINT64_MAX)};
}

base::Result<std::unique_ptr<PackedLinear>> pack(const LinearWeights& weights) {
  const std::uint32_t inputs = weights.weights.columns;
  const std::uint32_t outputs = weights.weights.rows;
  auto packed = make_packed(packed_shape(weights.format, inputs, outputs), inputs, outputs);
  if (!packed) return packed;
  const PackedWriter to(**packed);
  std::vector<std::int8_t> codes(inputs);
  for (std::size_t n = 0; n < outputs; ++n) {
    float* row = static_cast<float*>(to.weights) + n * inputs;
    if (weights.bias != nullptr) to.bias[n] = weights.bias[n];
    if (weights.format == LinearFormat::kInt8) {
      to.scales[n] = weight_codes(weights, n, codes);
      for (std::size_t k = 0; k < inputs; ++k) row[k] = codes[k];
    } else {
      weight_floats(weights, n, {row, inputs});
      if (weights.format == LinearFormat::kF32) continue;
      for (std::size_t k = 0; k < inputs; ++k) row[k] = float_from_bf16(bf16_from_float(row[k]));
    }
  }
  return packed;
}

void linear(const Linear& op) {
  const PackedLinear& layer = *op.weights;
  const std::size_t inputs = layer.inputs;
  const std::size_t outputs = layer.outputs;
  for (std::size_t r = 0; r < op.rows; ++r) {
    for (std::size_t n = 0; n < outputs; ++n) {
      const float* weights = static_cast<const float*>(layer.weights) + n * inputs;
      double sum = 0;
      for (std::size_t k = 0; k < inputs; ++k) {
        sum += double{load_element(op.in.data, op.in.type, r * inputs + k)} * double{weights[k]};
      }
      if (layer.format == LinearFormat::kInt8) {
        sum *= double{op.in.scales[r]} * double{layer.scales[n]};
      }
      double y = activate(sum + double{layer.bias[n]}, op.activation);
      if (op.residual != nullptr) y += double{op.residual[r * outputs + n]};
      store_element(op.out, r * outputs + n, static_cast<float>(y));
    }
  }
}

}  // namespace nacelle::kernels::reference
