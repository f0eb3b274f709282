// Each row scaled to L2 norm 1, in place: the last step of most sentence embeddings.
#pragma once

#include <cstdint>

namespace nacelle::kernels {

struct Normalize {
  float* data;         // [rows, width]  an all-zero row stays zero
  std::uint32_t rows;  // 0 is allowed and does nothing
  std::uint32_t width;
};

// Norms below this count as zero, so that an all-zero row stays zero instead of becoming NaN.
inline constexpr float kNormMin = 1e-12F;

}  // namespace nacelle::kernels
