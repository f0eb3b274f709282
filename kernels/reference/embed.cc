// EmbedNorm: y = LayerNorm(words[id] + positions[p] + types_table[type])
#include <cstddef>

#include "kernels/element.h"
#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

double element(const Tensor& table, std::size_t row, std::size_t column) {
  return load_element(table.data, table.type, row * table.columns + column);
}

}  // namespace

void embed(const EmbedNorm& op) {
  std::vector<double> row(op.width);
  for (std::size_t s = 0; s < op.sequences; ++s) {
    for (std::size_t t = op.offsets[s]; t < op.offsets[s + 1]; ++t) {
      const std::size_t position =
          op.position_ids == nullptr ? t - op.offsets[s] : op.position_ids[t];
      const std::size_t type = op.types == nullptr ? 0 : op.types[t];
      for (std::size_t i = 0; i < op.width; ++i) {
        row[i] = element(op.words, op.ids[t], i) + element(op.positions, position, i) +
                 element(op.types_table, type, i);
      }
      normalize_row(row, op.gamma, op.beta, op.epsilon, op.out + t * op.width);
      narrow_row(op.out + t * op.width, t, op.width, op.narrowed);
    }
  }
}

}  // namespace nacelle::kernels::reference
