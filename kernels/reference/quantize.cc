// Quantize: each row as bf16, as codes and a scale, or both.
#include <cstddef>

#include "kernels/element.h"
#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {

void store_element(const RowsOut& out, std::size_t index, float x) {
  if (out.type == ElementType::kBF16) {
    static_cast<std::uint16_t*>(out.data)[index] = bf16_from_float(x);
  } else {
    static_cast<float*>(out.data)[index] = x;
  }
}

void narrow_row(const float* in, std::size_t row, std::size_t width, const Narrowed& out) {
  if (out.bf16 != nullptr) {
    for (std::size_t i = 0; i < width; ++i) out.bf16[row * width + i] = bf16_from_float(in[i]);
  }
  if (out.codes != nullptr) {
    out.scales[row] = quantize_row(in, width, out.codes + row * width);
  }
}

void quantize(const Quantize& op) {
  std::vector<float> row(op.width);
  for (std::size_t r = 0; r < op.rows; ++r) {
    for (std::size_t i = 0; i < op.width; ++i) {
      row[i] = load_element(op.in.data, op.in.type, r * op.width + i);
    }
    narrow_row(row.data(), r, op.width, op.out);
  }
}

}  // namespace nacelle::kernels::reference
