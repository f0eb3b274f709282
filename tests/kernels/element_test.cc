// Half-precision numbers become the floats they stand for.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/element.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

// binary16 by its definition: (-1)^s * 2^(e - 15) * (1 + f / 1024), and 2^-14 * f / 1024 for e = 0.
double by_definition(std::uint32_t bits) {
  const int exponent = static_cast<int>((bits >> 10) & 31U);
  const double fraction = (bits & 1023U) / 1024.0;
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == 31) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  return sign *
         (exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15));
}

TEST(Element, EveryF16IsExact) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double value = double{float_from_f16(static_cast<std::uint16_t>(bits))};
    const double expected = by_definition(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(value, expected) << bits;
      ASSERT_EQ(std::signbit(value), std::signbit(expected)) << bits;
    }
  }
}

TEST(Element, ABf16IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(float_from_bf16(0x3F80), 1.0F);
  EXPECT_EQ(float_from_bf16(0xC049), -3.140625F);
  EXPECT_EQ(float_from_bf16(0x7F80), INFINITY);
  EXPECT_TRUE(std::isnan(float_from_bf16(0x7FC0)));
}

TEST(Element, ElementsAreReadAtAnyAddress) {
  unsigned char bytes[16] = {};
  const float x = 2.5F;
  std::memcpy(bytes + 1 + 4, &x, 4);
  EXPECT_EQ(load_element(bytes + 1, ElementType::kF32, 1), 2.5F);
  const std::uint16_t half = 0x4100;
  std::memcpy(bytes + 3 + 2, &half, 2);
  EXPECT_EQ(load_element(bytes + 3, ElementType::kF16, 1), 2.5F);
}

TEST(Element, TheTestsOwnRoundingKeepsWhatFits) {
  for (std::uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(test::f16_from(float_from_f16(half)), half);
    ASSERT_EQ(test::bf16_from(float_from_bf16(half)), half);
  }
}

}  // namespace
}  // namespace nacelle::kernels
