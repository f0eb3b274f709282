// Normalize: y = x / ||x||
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {

void normalize(const Normalize& op) {
  for (std::size_t r = 0; r < op.rows; ++r) {
    float* row = op.data + r * op.width;
    double squares = 0;
    for (std::size_t i = 0; i < op.width; ++i) squares += double{row[i]} * double{row[i]};
    const double norm = std::max(std::sqrt(squares), double{kNormMin});
    for (std::size_t i = 0; i < op.width; ++i) row[i] = static_cast<float>(row[i] / norm);
  }
}

}  // namespace nacelle::kernels::reference
