// Rows of numbers on their way from one op to the next, in one of three types:
//
//   kF32    floats
//   kBF16   the upper halves of floats, rounded to nearest even
//   kI8     codes in [-127, 127] and one scale a row: x = code * scale
//
// Codes are made from floats by one rule, to the bit the same in every backend (kernels/quantize.h
// says it in plain code).
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace nacelle::kernels {

// Rows that an op reads. A float* is one too, so that ops in fp32 read as they always did.
struct RowsIn {
  const void* data = nullptr;  // [rows, width]
  ElementType type = ElementType::kF32;
  const float* scales = nullptr;  // [rows] with kI8, or nullptr

  RowsIn() = default;
  RowsIn(const float* floats) : data(floats) {}  // NOLINT(google-explicit-constructor): see above
  static RowsIn bf16(const std::uint16_t* rows) { return {rows, ElementType::kBF16, nullptr}; }
  static RowsIn codes(const std::int8_t* rows, const float* row_scales) {
    return {rows, ElementType::kI8, row_scales};
  }

 private:
  RowsIn(const void* rows, ElementType kind, const float* row_scales)
      : data(rows), type(kind), scales(row_scales) {}
};

// Rows that an op writes: kF32 or kBF16.
struct RowsOut {
  void* data = nullptr;  // [rows, width]
  ElementType type = ElementType::kF32;

  RowsOut() = default;
  RowsOut(float* floats) : data(floats) {}  // NOLINT(google-explicit-constructor): as RowsIn
  static RowsOut bf16(std::uint16_t* rows) {
    RowsOut out;
    out.data = rows;
    out.type = ElementType::kBF16;
    return out;
  }
};

// Copies of an op's float rows in fewer bits, for the linear layers that read them next. What is
// nullptr is not written; codes and scales come together.
struct Narrowed {
  std::uint16_t* bf16 = nullptr;  // [rows, width]
  std::int8_t* codes = nullptr;   // [rows, width]
  float* scales = nullptr;        // [rows]
};

}  // namespace nacelle::kernels
