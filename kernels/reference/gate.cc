// Gate: y[i] = activation(x[i]) * x[width + i]
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {

void gate(const Gate& op) {
  const std::size_t width = op.width;
  for (std::size_t r = 0; r < op.rows; ++r) {
    const float* in = op.in + r * 2 * width;
    for (std::size_t i = 0; i < width; ++i) {
      op.out[r * width + i] =
          static_cast<float>(activate(in[i], op.activation) * double{in[width + i]});
    }
  }
}

}  // namespace nacelle::kernels::reference
