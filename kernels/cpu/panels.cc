// See panels.h.
#include "kernels/cpu/panels.h"

#include <algorithm>
#include <cstdint>

#include "kernels/element.h"
#include "kernels/memory.h"
#include "sidecar/base/bytes.h"

namespace nacelle::kernels::cpu {
namespace {

// Columns [column, column + columns) of the output into one panel, zeros behind the last output.
void fill_panel(const Tensor& from, std::size_t column, std::size_t columns, float* panel) {
  // A few inputs of all columns at a time, so that both sides stay in the first-level cache.
  constexpr std::size_t kBlock = 16;
  const std::size_t inputs = from.columns;
  for (std::size_t block = 0; block < inputs; block += kBlock) {
    const std::size_t end = std::min(block + kBlock, inputs);
    for (std::size_t j = 0; j < columns; ++j) {
      const bool real = column + j < from.rows;
      for (std::size_t k = block; k < end; ++k) {
        panel[k * columns + j] =
            real ? load_element(from.data, from.type, (column + j) * inputs + k) : 0.0F;
      }
    }
  }
}

}  // namespace

base::Result<std::unique_ptr<Panels>> pack(const Target& target, const LinearWeights& weights) {
  const Tensor& from = weights.weights;
  const std::size_t outputs = base::align_up(from.rows, target.lanes);
  // The product of two 32-bit numbers fits, its bytes may not; no allocation is as large as that.
  const auto size = base::checked_mul(outputs * from.columns, sizeof(float));
  auto panels = allocate_host(size.value_or(SIZE_MAX));
  if (!panels) return panels.error().in("packing a linear layer");
  auto bias = allocate_host(outputs * sizeof(float));
  if (!bias) return bias.error().in("packing a linear layer");

  auto packed = std::make_unique<Panels>();
  packed->inputs = from.columns;
  packed->outputs = from.rows;
  packed->target = &target;
  packed->panels = *std::move(panels);
  packed->bias = *std::move(bias);
  for (std::size_t column = 0; column < outputs; column += target.panel) {
    const std::size_t columns = std::min<std::size_t>(target.panel, outputs - column);
    fill_panel(from, column, columns, packed->panels.as<float>() + column * from.columns);
  }
  float* to = packed->bias.as<float>();
  std::fill(to, to + outputs, 0.0F);
  if (weights.bias != nullptr) std::copy_n(weights.bias, from.rows, to);
  return packed;
}

}  // namespace nacelle::kernels::cpu
