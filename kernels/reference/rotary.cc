// Rotary: each pair (x[d], x[d + half]) of a query's or key's head turned by its angle.
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

void turn(float* head, const float* cosines, const float* sines, std::size_t half) {
  for (std::size_t d = 0; d < half; ++d) {
    const double a = head[d];
    const double b = head[d + half];
    const double cosine = cosines[d];
    const double sine = sines[d];
    head[d] = static_cast<float>(a * cosine - b * sine);
    head[d + half] = static_cast<float>(b * cosine + a * sine);
  }
}

}  // namespace

void rotary(const Rotary& op) {
  const std::size_t half = op.head_width / 2;
  const std::size_t width = std::size_t{op.heads} * op.head_width;
  for (std::size_t s = 0; s < op.sequences; ++s) {
    for (std::size_t t = op.offsets[s]; t < op.offsets[s + 1]; ++t) {
      const std::size_t angle = (t - op.offsets[s]) * half;
      // Queries and keys lie side by side.
      for (std::size_t h = 0; h < 2 * std::size_t{op.heads}; ++h) {
        turn(op.qkv + t * 3 * width + h * op.head_width, op.cosines + angle, op.sines + angle,
             half);
      }
    }
  }
}

}  // namespace nacelle::kernels::reference
