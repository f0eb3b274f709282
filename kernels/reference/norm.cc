// LayerNorm: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {

void normalize_row(const std::vector<double>& row, const float* gamma, const float* beta,
                   double epsilon, float* out) {
  const std::size_t width = row.size();
  double mean = 0;
  for (const double x : row) mean += x;
  mean /= static_cast<double>(width);

  double variance = 0;
  for (const double x : row) variance += (x - mean) * (x - mean);
  variance /= static_cast<double>(width);

  for (std::size_t i = 0; i < width; ++i) {
    const double normalized = (row[i] - mean) / std::sqrt(variance + epsilon);
    out[i] = static_cast<float>(normalized * gamma[i] + beta[i]);
  }
}

void layer_norm(const LayerNorm& op) {
  for (std::size_t r = 0; r < op.rows; ++r) {
    const float* in = op.in + r * op.width;
    const std::vector<double> row(in, in + op.width);
    normalize_row(row, op.gamma, op.beta, op.epsilon, op.out + r * op.width);
    narrow_row(op.out + r * op.width, r, op.width, op.narrowed);
  }
}

}  // namespace nacelle::kernels::reference
