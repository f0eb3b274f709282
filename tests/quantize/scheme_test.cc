// Quantized weights: within half a step of what they stand for, and the same bytes always.
#include "sidecar/quantize/scheme.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace nacelle::quantize {
namespace {

TEST(Scheme, NamesGoBothWays) {
  for (const Scheme scheme : {Scheme::kF16, Scheme::kBf16, Scheme::kInt8}) {
    EXPECT_EQ(scheme_from_name(scheme_name(scheme)), scheme);
  }
  EXPECT_EQ(scheme_from_name("int7"), std::nullopt);
}

TEST(Scheme, Int8IsWithinHalfAStepWhateverTheMagnitude) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  constexpr std::size_t kInputs = 37;
  for (const float magnitude : {1e-25F, 1e-3F, 1.0F, 1e4F, 1e37F}) {
    std::vector<float> weights(kInputs * 20);
    for (float& x : weights) x = magnitude * normal(random);
    const auto quantized = quantize_int8(weights, kInputs);
    ASSERT_TRUE(quantized);
    const std::vector<float> back = dequantize(*quantized, kInputs);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float step = quantized->scales[i / kInputs];
      // Half a step, and the rounding of three float operations.
      ASSERT_LE(std::abs(back[i] - weights[i]), step * 0.5001F) << magnitude << " " << i;
    }
    for (std::size_t row = 0; row < 20; ++row) {
      int most = 0;
      for (std::size_t i = 0; i < kInputs; ++i) {
        most = std::max(most, std::abs(int{quantized->codes[row * kInputs + i]}));
      }
      EXPECT_EQ(most, 127);  // the whole range is used
    }
  }
}

TEST(Scheme, Int8OfTiesZerosAndTheSmallest) {
  // The scale is 1 here, so that halves are ties: to even.
  const auto ties = quantize_int8(std::vector<float>{127, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F}, 6);
  EXPECT_EQ(ties->codes, (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2}));
  const auto zeros = quantize_int8(std::vector<float>{0, 0, -0.0F, 0x1p-149F}, 2);
  EXPECT_EQ(zeros->codes, std::vector<std::int8_t>(4));
  EXPECT_EQ(zeros->scales, (std::vector<float>{0, 0}));
  EXPECT_FALSE(quantize_int8(std::vector<float>{1, NAN}, 2));
  EXPECT_FALSE(quantize_int8(std::vector<float>{1, -INFINITY}, 1));
}

TEST(Scheme, HalvesSayWhenAValueDoesNotFit) {
  std::vector<std::uint16_t> out;
  EXPECT_TRUE(round_to_f16(std::vector<float>{1, -2, 65504}, out));
  EXPECT_EQ(out, (std::vector<std::uint16_t>{0x3C00, 0xC000, 0x7BFF}));
  EXPECT_FALSE(round_to_f16(std::vector<float>{70000}, out));
  EXPECT_TRUE(round_to_bf16(std::vector<float>{70000, 1}, out));
  EXPECT_EQ(out, (std::vector<std::uint16_t>{0x4789, 0x3F80}));
  EXPECT_FALSE(round_to_bf16(std::vector<float>{NAN}, out));
}

}  // namespace
}  // namespace nacelle::quantize
