// One stored number as a float, whatever its type and alignment, and back. Every F16 and BF16 value
// is also a float, so nothing is rounded on the way in; the way back rounds to the nearest, ties to
// even.
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

inline std::uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);  // stays a NaN
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// Beyond 65504 (rounded) it is infinity.
inline std::uint16_t f16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t half = 0;
  if (magnitude > 0x7F800000U) {
    half = 0x7E00U;  // NaN
  } else if (magnitude >= 0x477FF000U) {
    half = 0x7C00U;  // 65520 and more round to infinity
  } else if (magnitude < 0x38800000U) {
    // Below 2^-14: a multiple of 2^-24. Adding 0.5 leaves 2^-24 as the last bit of the float's
    // fraction, rounded by the addition.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U;
  } else {
    // 112 = 127 - 15 moves the bias; 13 bits of the fraction go.
    half = (magnitude + 0xFFFU + ((magnitude >> 13) & 1U) - (112U << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

// Element `index` of an array of `type` that starts at `data`, which may be unaligned; the code
// itself of a kI8.
inline float load_element(const void* data, ElementType type, std::size_t index) {
  const auto* at = static_cast<const unsigned char*>(data) + index * element_size(type);
  if (type == ElementType::kF32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  if (type == ElementType::kI8) return static_cast<float>(static_cast<signed char>(*at));
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return type == ElementType::kF16 ? float_from_f16(bits) : float_from_bf16(bits);
}

}  // namespace nacelle::kernels
