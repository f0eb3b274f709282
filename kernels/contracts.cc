// See contracts.h.
#include "kernels/contracts.h"

#include <cstdint>

#include "sidecar/base/check.h"

namespace nacelle::kernels {
namespace {

struct Bytes {
  const void* data;
  std::uint64_t size;
};

// Whether two arrays share a byte. As integers: pointers of two arrays have no order.
bool overlap(Bytes a, Bytes b) {
  const auto a_begin = reinterpret_cast<std::uintptr_t>(a.data);
  const auto b_begin = reinterpret_cast<std::uintptr_t>(b.data);
  return a_begin < b_begin + b.size && b_begin < a_begin + a.size;
}

Bytes floats(const float* data, std::uint64_t count) { return {data, count * sizeof(float)}; }
Bytes bytes(const RowsIn& rows, std::uint64_t count) {
  return {rows.data, count * element_size(rows.type)};
}
Bytes bytes(const RowsOut& rows, std::uint64_t count) {
  return {rows.data, count * element_size(rows.type)};
}

// What is written narrow shares nothing with `other`; codes and scales come together.
void check_narrowed(const Narrowed& narrowed, std::uint64_t count, std::uint32_t rows,
                    Bytes other) {
  CHECK((narrowed.codes == nullptr) == (narrowed.scales == nullptr));
  CHECK(narrowed.bf16 == nullptr || !overlap({narrowed.bf16, count * 2}, other));
  CHECK(narrowed.codes == nullptr || !overlap({narrowed.codes, count}, other));
  CHECK(narrowed.codes == nullptr || !overlap(floats(narrowed.scales, rows), other));
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
  const std::uint32_t tokens = op.offsets[op.sequences];
  const std::uint64_t count = std::uint64_t{tokens} * op.width;
  check_narrowed(op.narrowed, count, tokens, floats(op.out, count));
}

void check_contract(const LinearWeights& weights) {
  CHECK(weights.weights.data != nullptr);
  CHECK(weights.weights.rows > 0 && weights.weights.columns > 0);
  CHECK((weights.weights.type == ElementType::kI8) == (weights.scales != nullptr));
}

void check_contract(const Linear& op) {
  CHECK(op.weights != nullptr);
  if (op.rows == 0) return;
  CHECK(op.in.data != nullptr && op.out.data != nullptr);
  switch (op.weights->format) {
    case LinearFormat::kF32:
      CHECK(op.in.type == ElementType::kF32 && op.out.type == ElementType::kF32);
      break;
    case LinearFormat::kBF16:
      CHECK(op.in.type == ElementType::kBF16);
      break;
    case LinearFormat::kInt8:
      CHECK(op.in.type == ElementType::kI8);
      break;
  }
  CHECK((op.in.type == ElementType::kI8) == (op.in.scales != nullptr));
  CHECK(op.out.type == ElementType::kF32 || op.out.type == ElementType::kBF16);
  const std::uint64_t out_count = std::uint64_t{op.rows} * op.weights->outputs;
  const Bytes out = bytes(op.out, out_count);
  CHECK(!overlap(bytes(op.in, std::uint64_t{op.rows} * op.weights->inputs), out));
  if (op.in.scales != nullptr) CHECK(!overlap(floats(op.in.scales, op.rows), out));
  if (op.residual != nullptr) CHECK(!overlap(floats(op.residual, out_count), out));
}

void check_contract(const Attention& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  CHECK(op.heads > 0 && op.head_width > 0);
  CHECK(op.qkv.data != nullptr && op.out.data != nullptr);
  CHECK(op.qkv.type == ElementType::kF32 || op.qkv.type == ElementType::kBF16);
  CHECK(op.out.type == ElementType::kF32 || op.out.type == ElementType::kBF16);
  const std::uint64_t count =
      std::uint64_t{op.offsets[op.sequences]} * op.heads * std::uint64_t{op.head_width};
  CHECK(!overlap(bytes(op.qkv, 3 * count), bytes(op.out, count)));
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
  CHECK(!overlap(floats(op.in, 2 * count), floats(op.out, count)));
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
  CHECK(op.in == op.out || !overlap(floats(op.in, count), floats(op.out, count)));
  check_narrowed(op.narrowed, count, op.rows, floats(op.in, count));
  check_narrowed(op.narrowed, count, op.rows, floats(op.out, count));
}

void check_contract(const Pool& op) {
  if (op.sequences == 0) return;
  check_offsets(op.offsets, op.sequences);
  for (std::uint32_t s = 0; s < op.sequences; ++s) CHECK(op.offsets[s] < op.offsets[s + 1]);
  CHECK(op.width > 0);
  CHECK(op.out_stride == 0 || op.out_stride >= op.width);
  CHECK(op.hidden != nullptr && op.out != nullptr);
}

void check_contract(const Quantize& op) {
  if (op.rows == 0) return;
  CHECK(op.width > 0);
  CHECK(op.in.data != nullptr);
  CHECK(op.in.type == ElementType::kF32 || op.in.type == ElementType::kBF16);
  CHECK(op.out.bf16 != nullptr || op.out.codes != nullptr);
  const std::uint64_t count = std::uint64_t{op.rows} * op.width;
  check_narrowed(op.out, count, op.rows, bytes(op.in, count));
}

}  // namespace nacelle::kernels
