// Rows in fewer bits, for a linear layer that reads them so: the op for what no other op leaves
// narrow already (attention's output, a linear layer's activations), and the rule that every code
// in this program is made by.
//
//   largest = max |x|,  scale = largest / 127,  code = x * (127 / largest) to the nearest, ties to
//   even
//
// each step in float. A row that is nearly 0 (largest < kQuantizeMin, where 127 / largest leaves
// the floats) has scale 0 and codes 0. A row with a NaN or an infinity has scale NaN and codes 0,
// so that whatever is computed from it is NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activations.h"

namespace nacelle::kernels {

struct Quantize {
  RowsIn in;           // [rows, width]  kF32 or kBF16
  Narrowed out;        // does not overlap in
  std::uint32_t rows;  // 0 is allowed and does nothing
  std::uint32_t width;
};

inline constexpr float kQuantizeMin = 0x1p-100F;
inline constexpr float kCodeMax = 127.0F;

// One row by the rule above, in plain code: what the vector loops are held to. Returns the scale.
float quantize_row(const float* row, std::size_t width, std::int8_t* codes);

}  // namespace nacelle::kernels
