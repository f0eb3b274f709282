// See contracts.h.
#include "kernels/contracts.h"

#include <cstdint>

#include "sidecar/base/check.h"

namespace nacelle::kernels {
namespace {

// Whether two arrays of floats share a byte. As integers: pointers of two arrays have no order.
bool overlap(const float* a, std::uint64_t a_count, const float* b, std::uint64_t b_count) {
  const auto a_begin = reinterpret_cast<std::uintptr_t>(a);
  const auto b_begin = reinterpret_cast<std::uintptr_t>(b);
  return a_begin < b_begin + b_count * sizeof(float) && b_begin < a_begin + a_count * sizeof(float);
}

void check_offsets(const std::uint32_t* offsets, std::uint32_t sequences) {
  CHECK(offsets != nullptr);
  CHECK(offsets[0] == 0);
  for (std::uint32_t s = 0; s < sequences; ++s) CHECK(offsets[s] <= offsets[s + 1]);
}

}  // namespace

void check_contract(const EmbedNorm& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  CHECK(op.width > 0);
  CHECK(op.ids != nullptr && op.out != nullptr && op.gamma != nullptr && op.beta != nullptr);
  for (const Tensor* table : {&op.words, &op.positions, &op.types_table}) {
    CHECK(table->data != nullptr);
    CHECK(table->columns == op.width);
    CHECK(table->rows > 0);
  }
  if (op.position_ids != nullptr) return;
  for (std::uint32_t s = 0; s < op.sequences; ++s) {
    CHECK(op.offsets[s + 1] - op.offsets[s] <= op.positions.rows);
  }
}

void check_contract(const LinearWeights& weights) {
  CHECK(weights.weights.data != nullptr);
  CHECK(weights.weights.rows > 0 && weights.weights.columns > 0);
}

void check_contract(const Linear& op) {
  CHECK(op.weights != nullptr);
  if (op.rows == 0) return;
  CHECK(op.in != nullptr && op.out != nullptr);
  const std::uint64_t in_count = std::uint64_t{op.rows} * op.weights->inputs;
  const std::uint64_t out_count = std::uint64_t{op.rows} * op.weights->outputs;
  CHECK(!overlap(op.in, in_count, op.out, out_count));
  if (op.residual != nullptr) CHECK(!overlap(op.residual, out_count, op.out, out_count));
}

void check_contract(const Attention& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  CHECK(op.heads > 0 && op.head_width > 0);
  CHECK(op.qkv != nullptr && op.out != nullptr);
  const std::uint64_t count =
      std::uint64_t{op.offsets[op.sequences]} * op.heads * std::uint64_t{op.head_width};
  CHECK(!overlap(op.qkv, 3 * count, op.out, count));
  if (op.bias == nullptr) return;
  for (std::uint32_t s = 0; s < op.sequences; ++s) {
    CHECK(op.offsets[s + 1] - op.offsets[s] <= std::uint64_t{op.bias_reach} + 1);
  }
}

void check_contract(const Rotary& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  CHECK(op.heads > 0 && op.head_width > 0 && op.head_width % 2 == 0);
  CHECK(op.qkv != nullptr && op.cosines != nullptr && op.sines != nullptr);
  for (std::uint32_t s = 0; s < op.sequences; ++s) {
    CHECK(op.offsets[s + 1] - op.offsets[s] <= op.positions);
  }
}

void check_contract(const Gate& op) {
  if (op.rows == 0) return;
  CHECK(op.width > 0);
  CHECK(op.in != nullptr && op.out != nullptr);
  const std::uint64_t count = std::uint64_t{op.rows} * op.width;
  CHECK(!overlap(op.in, 2 * count, op.out, count));
}

void check_contract(const Normalize& op) {
  if (op.rows == 0) return;
  CHECK(op.width > 0);
  CHECK(op.data != nullptr);
}

void check_contract(const LayerNorm& op) {
  if (op.rows == 0) return;
  CHECK(op.width > 0);
  CHECK(op.in != nullptr && op.out != nullptr && op.gamma != nullptr && op.beta != nullptr);
  const std::uint64_t count = std::uint64_t{op.rows} * op.width;
  CHECK(op.in == op.out || !overlap(op.in, count, op.out, count));
}

void check_contract(const Pool& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  for (std::uint32_t s = 0; s < op.sequences; ++s) CHECK(op.offsets[s] < op.offsets[s + 1]);
  CHECK(op.width > 0);
  CHECK(op.out_stride == 0 || op.out_stride >= op.width);
  CHECK(op.hidden != nullptr && op.out != nullptr);
}

}  // namespace nacelle::kernels
