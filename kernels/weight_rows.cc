// See weight_rows.h.
#include "kernels/weight_rows.h"

#include <cstring>
#include <vector>

#include "kernels/element.h"
#include "kernels/quantize.h"

namespace nacelle::kernels {

void weight_floats(const LinearWeights& weights, std::size_t n, std::span<float> out) {
  const Tensor& from = weights.weights;
  const float scale = weights.scales == nullptr ? 1.0F : weights.scales[n];
  for (std::size_t k = 0; k < out.size(); ++k) {
    out[k] = scale * load_element(from.data, from.type, n * from.columns + k);
  }
}

float weight_codes(const LinearWeights& weights, std::size_t n, std::span<std::int8_t> out) {
  const Tensor& from = weights.weights;
  if (from.type == ElementType::kI8) {
    std::memcpy(out.data(), static_cast<const std::int8_t*>(from.data) + n * from.columns,
                out.size());
    return weights.scales[n];
  }
  std::vector<float> row(out.size());
  weight_floats(weights, n, row);
  return quantize_row(row.data(), row.size(), out.data());
}

}  // namespace nacelle::kernels
