// One stored number as a float, whatever its type and alignment. Every F16 and BF16 value is also
// a float, so nothing is rounded here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/tensor.h"

namespace nacelle::kernels {

// BF16 is the upper half of a float.
inline float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
inline float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0) {  // zero, or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  // 31 stands for infinity and NaN, which a float spells 255. 112 = 127 - 15 moves the bias.
  const std::uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

// Element `index` of an array of `type` that starts at `data`, which may be unaligned.
inline float load_element(const void* data, ElementType type, std::size_t index) {
  const auto* at = static_cast<const unsigned char*>(data) + index * element_size(type);
  if (type == ElementType::kF32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return type == ElementType::kF16 ? float_from_f16(bits) : float_from_bf16(bits);
}

}  // namespace nacelle::kernels
