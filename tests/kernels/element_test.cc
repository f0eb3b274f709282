// Half-precision numbers become the floats they stand for.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

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

// The stored value next to `value`: of the two around it the nearer, of two as near the one with an
// even last bit. `load` gives the value of a pattern; patterns of positive values rise with them.
template <typename Load>
std::uint32_t nearest(double value, std::uint32_t infinity, Load load) {
  std::uint32_t low = 0;
  std::uint32_t high = infinity;  // counts as the next power of two here, as IEEE 754 rounds
  const auto finite = [&](std::uint32_t bits) {
    return double{load(static_cast<std::uint16_t>(bits))};
  };
  const double top = 2 * finite(infinity - 1) - finite(infinity - 2);
  const auto at = [&](std::uint32_t bits) { return bits == infinity ? top : finite(bits); };
  if (value >= top) return infinity;
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (at(middle) <= value ? low : high) = middle;
  }
  const double below = value - at(low);
  const double above = at(high) - value;
  return below < above || (below == above && low % 2 == 0) ? low : high;
}

TEST(Element, RoundsToTheNearest) {
  std::mt19937 random(7);
  std::vector<float> values = {0.0F,       0x1p-24F,   0x1p-25F,     0x1.8p-25F, 0x1p-26F,
                               65504.0F,   65519.9F,   65520.0F,     1e30F,      3.4e38F,
                               0x1.004p0F, 0x1.00cp0F, 0x1.ffep-15F, 0x1p-14F,   0x1.01p0F,
                               0x1.03p0F,  0x1p-133F,  0x1p-149F};
  for (int i = 0; i < 100'000; ++i) {
    // All bit patterns, so all magnitudes; half of them around binary16's range.
    std::uint32_t bits = random() & 0x7FFFFFFFU;
    if (i % 2 == 0) bits = 0x32000000U + bits % (0x48000000U - 0x32000000U);
    const auto value = std::bit_cast<float>(bits);
    if (std::isfinite(value)) values.push_back(value);
  }
  for (const float value : values) {
    const auto f16 = nearest(double{value}, 0x7C00, float_from_f16);
    const auto bf16 = nearest(double{value}, 0x7F80, float_from_bf16);
    ASSERT_EQ(f16_from_float(value), f16) << value;
    ASSERT_EQ(f16_from_float(-value), f16 | 0x8000U) << value;
    ASSERT_EQ(bf16_from_float(value), bf16) << value;
    ASSERT_EQ(bf16_from_float(-value), bf16 | 0x8000U) << value;
  }
  EXPECT_EQ(f16_from_float(INFINITY), 0x7C00);
  EXPECT_EQ(bf16_from_float(-INFINITY), 0xFF80);
  EXPECT_TRUE(std::isnan(float_from_f16(f16_from_float(NAN))));
  // A NaN whose upper half alone would be infinity.
  EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(std::bit_cast<float>(0x7F800001U)))));
}

}  // namespace
}  // namespace nacelle::kernels
