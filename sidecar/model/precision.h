// In which arithmetic the linear layers of an encoder's body run: what an operator asks for, and
// what becomes of it with what a model's files hold. Heads and everything between layers stay fp32.
//
//   precision   weights stored as floats of any size   weights stored as int8
//   auto        fp32                                   int8
//   fp32        fp32                                   fp32, of what the codes stand for
//   bf16        bf16                                   bf16, of what the codes stand for
//   int8        int8, quantized as they are loaded     int8
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/kernels.h"

namespace nacelle::model {

enum class Precision : std::uint8_t { kAuto, kF32, kBf16, kInt8 };
inline constexpr std::array<std::string_view, 4> kPrecisionNames = {"auto", "fp32", "bf16", "int8"};

constexpr kernels::LinearFormat format_of(Precision wanted, bool stored_as_int8) {
  switch (wanted) {
    case Precision::kF32:
      return kernels::LinearFormat::kF32;
    case Precision::kBf16:
      return kernels::LinearFormat::kBF16;
    case Precision::kInt8:
      return kernels::LinearFormat::kInt8;
    case Precision::kAuto:
      break;
  }
  return stored_as_int8 ? kernels::LinearFormat::kInt8 : kernels::LinearFormat::kF32;
}

constexpr Precision precision_of(kernels::LinearFormat format) {
  return format == kernels::LinearFormat::kF32    ? Precision::kF32
         : format == kernels::LinearFormat::kBF16 ? Precision::kBf16
                                                  : Precision::kInt8;
}

}  // namespace nacelle::model
