// See quantize.h.
#include "kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nacelle::kernels {

float quantize_row(const float* row, std::size_t width, std::int8_t* codes) {
  float largest = 0;
  bool finite = true;
  for (std::size_t i = 0; i < width; ++i) {
    finite = finite && std::isfinite(row[i]);
    largest = std::max(largest, std::fabs(row[i]));
  }
  if (!finite || largest < kQuantizeMin) {
    std::fill(codes, codes + width, std::int8_t{0});
    return finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = kCodeMax / largest;
  // nearbyint rounds ties to even in the default mode. The product may pass 127 by a rounding,
  // never by half.
  for (std::size_t i = 0; i < width; ++i) {
    codes[i] = static_cast<std::int8_t>(std::nearbyint(row[i] * inverse));
  }
  return largest / kCodeMax;
}

}  // namespace nacelle::kernels
