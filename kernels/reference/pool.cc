// Pool: the mean of a sequence's token vectors, or the first of them; then y / ||y|| if asked.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {

void pool(const Pool& op) {
  std::vector<double> row(op.width);
  for (std::size_t s = 0; s < op.sequences; ++s) {
    const std::size_t begin = op.offsets[s];
    const std::size_t end = op.pooling == Pooling::kFirst ? begin + 1 : op.offsets[s + 1];

    double squares = 0;
    for (std::size_t i = 0; i < op.width; ++i) {
      row[i] = 0;
      for (std::size_t t = begin; t < end; ++t) row[i] += op.hidden[t * op.width + i];
      row[i] /= static_cast<double>(end - begin);
      squares += row[i] * row[i];
    }

    const double norm = std::sqrt(squares);
    const double scale = op.normalize ? 1 / std::max(norm, double{kNormMin}) : 1;
    for (std::size_t i = 0; i < op.width; ++i) {
      op.out[s * op.width + i] = static_cast<float>(row[i] * scale);
    }
  }
}

}  // namespace nacelle::kernels::reference
