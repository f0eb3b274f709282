// The emulator itself, against what Intel's manual says: a kernel can only be as right as it is.
#include "tests/kernels/amx_emulator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/element.h"
#include "kernels/quantize.h"

namespace nacelle::kernels::cpu {
namespace {

using T = EmulatedTiles;

// Tiles 0 = sums, 1 = a, 2 = b for one row and one column of `pairs` 32-bit elements.
void one_by_one(std::size_t elements) {
  TileConfig config;
  const auto bytes = static_cast<std::uint16_t>(4 * elements);
  const auto rows = static_cast<std::uint8_t>(elements);
  config.rows[0] = 1;
  config.row_bytes[0] = 4;
  config.rows[1] = 1;
  config.row_bytes[1] = bytes;
  config.rows[2] = rows;
  config.row_bytes[2] = 4;
  T::configure(config);
}

float dot_bf16(std::initializer_list<float> a, std::initializer_list<float> b, float sum) {
  std::uint16_t a_bits[32] = {};
  std::uint16_t b_bits[32] = {};
  for (std::size_t i = 0; i < a.size(); ++i) a_bits[i] = bf16_from_float(a.begin()[i]);
  for (std::size_t i = 0; i < b.size(); ++i) b_bits[i] = bf16_from_float(b.begin()[i]);
  one_by_one(a.size() / 2);
  T::load<0>(&sum, 4);
  T::load<1>(a_bits, 64);
  T::load<2>(b_bits, 4);
  T::dot_bf16<0, 1, 2>();
  T::store<0>(&sum, 4);
  return sum;
}

TEST(AmxEmulator, Bf16AddsEvenAndOddProductsApartAndTheOldSumLast) {
  // Even products: 2^24, then 1 (lost beside it); odd: -2^24, then 1 (-2^24 + 1 is a float).
  EXPECT_EQ(dot_bf16({4096, -4096, 1, 1}, {4096, 4096, 1, 1}, 0), 1.0F);
  // The old sum meets the finished pair: 2^24 + (1 + 1), where 2^24 + 1 would lose both.
  EXPECT_EQ(dot_bf16({1, 1}, {1, 1}, 0x1p24F), 0x1p24F + 2);
}

TEST(AmxEmulator, Bf16TreatsDenormalsAsZeroEverywhere) {
  EXPECT_EQ(dot_bf16({0x1p-127F, 0}, {0x1p20F, 0}, 0), 0.0F);       // an input
  EXPECT_EQ(dot_bf16({0x1p-70F, 0}, {0x1p-60F, 0}, 0), 0.0F);       // a product
  EXPECT_EQ(dot_bf16({0, 0}, {0, 0}, 0x1p-130F), 0.0F);             // the old sum
  EXPECT_EQ(dot_bf16({0x1p-63F, 0}, {0x1p-63F, 0}, 0), 0x1p-126F);  // the least that stays
}

TEST(AmxEmulator, Int8MultipliesWithSignsAndWraps) {
  std::int8_t a[4] = {-128, -128, 127, 0};
  std::int8_t b[4] = {-128, 127, 127, 5};
  std::int32_t sum = 7;
  one_by_one(1);
  T::load<0>(&sum, 4);
  T::load<1>(a, 64);
  T::load<2>(b, 4);
  T::dot_int8<0, 1, 2>();
  T::store<0>(&sum, 4);
  EXPECT_EQ(sum, 7 + 128 * 128 - 128 * 127 + 127 * 127);
  sum = INT32_MAX;
  T::load<0>(&sum, 4);
  T::dot_int8<0, 1, 2>();
  T::store<0>(&sum, 4);
  EXPECT_LT(sum, 0);
}

TEST(AmxEmulator, ALoadFillsTheConfiguredPartAndZerosTheRest) {
  TileConfig config;
  config.rows[3] = 2;
  config.row_bytes[3] = 8;
  T::configure(config);
  const std::int32_t from[] = {1, 2, 3, 4, 5, 6};
  T::load<3>(from, 12);
  std::int32_t to[4] = {};
  T::store<3>(to, 8);
  EXPECT_EQ(to[0], 1);
  EXPECT_EQ(to[1], 2);
  EXPECT_EQ(to[2], 4);
  EXPECT_EQ(to[3], 5);
}

}  // namespace
}  // namespace nacelle::kernels::cpu
