// See panels.h.
#include "kernels/cpu/panels.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/element.h"
#include "kernels/weight_rows.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::kernels::cpu {
namespace {

constexpr std::size_t element_bytes(LinearFormat format) {
  return format == LinearFormat::kF32 ? 4 : format == LinearFormat::kBF16 ? 2 : 1;
}

// Row `n` of the weights as elements of the format, at `to`; returns the scale of kInt8.
float convert_row(const LinearWeights& weights, std::size_t n, bool offset,
                  std::vector<float>& floats, unsigned char* to) {
  const std::size_t inputs = weights.weights.columns;
  if (weights.format == LinearFormat::kInt8) {
    const float scale =
        weight_codes(weights, n, {static_cast<std::int8_t*>(static_cast<void*>(to)), inputs});
    // + 128 turns the sign bit around.
    for (std::size_t k = 0; offset && k < inputs; ++k) to[k] ^= 0x80U;
    return scale;
  }
  weight_floats(weights, n, floats);
  if (weights.format == LinearFormat::kF32) {
    std::memcpy(to, floats.data(), inputs * sizeof(float));
    return 1.0F;
  }
  for (std::size_t k = 0; k < inputs; ++k) {
    const std::uint16_t bits = bf16_from_float(floats[k]);
    std::memcpy(to + k * sizeof bits, &bits, sizeof bits);
  }
  return 1.0F;
}

// rows [columns, groups] of kUnit bytes each -> [groups, columns]
template <std::size_t kUnit>
void interleave(const unsigned char* rows, std::size_t columns, std::size_t groups,
                unsigned char* to) {
  // A few groups of all columns at a time, so that both sides stay in the first-level cache.
  constexpr std::size_t kBlock = 64 / kUnit;
  for (std::size_t begin = 0; begin < groups; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, groups);
    for (std::size_t j = 0; j < columns; ++j) {
      for (std::size_t g = begin; g < end; ++g) {
        std::memcpy(to + (g * columns + j) * kUnit, rows + (j * groups + g) * kUnit, kUnit);
      }
    }
  }
}

}  // namespace

PackedShape packed_shape(const PanelLayout& layout, std::uint32_t inputs, std::uint32_t outputs) {
  const std::uint64_t columns = base::align_up(std::uint64_t{outputs}, layout.lanes);
  const std::uint64_t depth = base::align_up(std::uint64_t{inputs}, layout.depth);
  const auto elements = base::checked_mul(columns, depth);
  const auto size =
      elements ? base::checked_mul(*elements, element_bytes(layout.format)) : std::nullopt;
  return {.layout = layout.name,
          .format = layout.format,
          .columns = columns,
          .weights_size = size.value_or(UINT64_MAX)};
}

base::Result<std::unique_ptr<PackedLinear>> pack(const PanelLayout& layout,
                                                 const LinearWeights& weights) {
  CHECK(weights.format == layout.format);
  const std::uint32_t inputs = weights.weights.columns;
  const std::uint32_t outputs = weights.weights.rows;
  const PackedShape shape = packed_shape(layout, inputs, outputs);
  auto packed = make_packed(shape, inputs, outputs);
  if (!packed) return packed;

  const PackedWriter to(**packed);
  const std::size_t depth = base::align_up(std::size_t{inputs}, layout.depth);
  const std::size_t row_size = depth * element_bytes(layout.format);
  const std::size_t unit = layout.group * element_bytes(layout.format);
  std::vector<unsigned char> rows(layout.panel * row_size);
  std::vector<float> floats(inputs);
  auto* panel = static_cast<unsigned char*>(to.weights);
  for (std::size_t column = 0; column < shape.columns; column += layout.panel) {
    const std::size_t columns = std::min<std::size_t>(layout.panel, shape.columns - column);
    std::fill(rows.begin(), rows.end(), layout.offset ? 0x80U : 0U);
    for (std::size_t j = 0; j < columns && column + j < outputs; ++j) {
      const std::size_t n = column + j;
      const float scale =
          convert_row(weights, n, layout.offset, floats, rows.data() + j * row_size);
      if (to.scales != nullptr) to.scales[n] = scale;
      if (weights.bias != nullptr) to.bias[n] = weights.bias[n];
    }
    CHECK(unit == 2 || unit == 4);
    if (unit == 4) interleave<4>(rows.data(), columns, row_size / unit, panel);
    if (unit == 2) interleave<2>(rows.data(), columns, row_size / unit, panel);
    panel += columns * row_size;
  }
  return packed;
}

}  // namespace nacelle::kernels::cpu
