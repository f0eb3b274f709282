// The layout of packed weights, on the example of panels.h and at the edges.
#include "kernels/cpu/panels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace nacelle::kernels::cpu {
namespace {

using ::testing::ElementsAre;

// 2 lanes and 4 columns: small enough to read.
constexpr PanelLayout kTiny{
    .name = "tiny", .format = LinearFormat::kF32, .panel = 4, .lanes = 2, .group = 1, .depth = 1};

template <typename T>
std::vector<T> weights_of(const PackedLinear& packed, std::size_t count) {
  const auto* at = static_cast<const T*>(packed.weights);
  return {at, at + count};
}
std::vector<float> bias_of(const PackedLinear& packed, std::size_t count) {
  return {packed.bias, packed.bias + count};
}

TEST(Panels, ColumnsOfOneInputLieSideBySideAndTheLastPanelIsNarrow) {
  // w[n][k] = 10 n + k, as in the header: 5 outputs of 2 inputs.
  const float weights[] = {0, 1, 10, 11, 20, 21, 30, 31, 40, 41};
  const float bias[] = {1, 2, 3, 4, 5};
  const auto packed =
      pack(kTiny, {.weights = {.data = weights, .rows = 5, .columns = 2}, .bias = bias});
  ASSERT_TRUE(packed);
  EXPECT_EQ((*packed)->outputs, 5U);
  EXPECT_EQ((*packed)->inputs, 2U);
  EXPECT_THAT(weights_of<float>(**packed, 12),
              ElementsAre(0, 10, 20, 30, 1, 11, 21, 31, 40, 0, 41, 0));
  EXPECT_THAT(bias_of(**packed, 6), ElementsAre(1, 2, 3, 4, 5, 0));
}

TEST(Panels, AGroupOfInputsStaysTogetherAndIsFilledUpWithZeros) {
  PanelLayout layout = kTiny;
  layout.format = LinearFormat::kInt8;
  layout.group = 2;
  layout.depth = 4;
  const std::int8_t codes[] = {1, 2, 3, 11, 12, 13, 21, 22, 23};
  const float scales[] = {0.5F, 0.25F, 2.0F};
  const LinearWeights layer{
      .weights = {.data = codes, .type = ElementType::kI8, .rows = 3, .columns = 3},
      .scales = scales,
      .format = LinearFormat::kInt8};
  const auto packed = pack(layout, layer);
  ASSERT_TRUE(packed);
  EXPECT_THAT(weights_of<std::int8_t>(**packed, 16),
              ElementsAre(1, 2, 11, 12, 21, 22, 0, 0, 3, 0, 13, 0, 23, 0, 0, 0));
  EXPECT_THAT(std::vector<float>((*packed)->scales, (*packed)->scales + 4),
              ElementsAre(0.5F, 0.25F, 2.0F, 0.0F));

  layout.group = layout.depth = 4;
  layout.offset = true;
  const auto offset = pack(layout, layer);
  ASSERT_TRUE(offset);
  EXPECT_THAT(
      weights_of<std::uint8_t>(**offset, 16),
      ElementsAre(129, 130, 131, 128, 139, 140, 141, 128, 149, 150, 151, 128, 128, 128, 128, 128));
}

TEST(Panels, WithoutABiasThereAreZeros) {
  const float weights[] = {7, 8, 9};
  const auto packed = pack(kTiny, {.weights = {.data = weights, .rows = 1, .columns = 3}});
  ASSERT_TRUE(packed);
  EXPECT_THAT(weights_of<float>(**packed, 6), ElementsAre(7, 0, 8, 0, 9, 0));
  EXPECT_THAT(bias_of(**packed, 2), ElementsAre(0, 0));
}

TEST(Panels, ALayerTooLargeForMemoryIsAnError) {
  const float weight = 0;
  const auto packed =
      pack(kTiny, {.weights = {.data = &weight, .rows = 0xFFFFFFF0U, .columns = 0xFFFFFFF0U}});
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().code, base::Code::kUnavailable);
}

}  // namespace
}  // namespace nacelle::kernels::cpu
