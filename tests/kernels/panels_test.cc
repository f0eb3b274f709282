// The layout of packed weights, on the example of panels.h and at the edges.
#include "kernels/cpu/panels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace nacelle::kernels::cpu {
namespace {

using ::testing::ElementsAre;

std::vector<float> floats(const Buffer& buffer) {
  return {buffer.as<float>(), buffer.as<float>() + buffer.size() / sizeof(float)};
}

// A target of 2 lanes and 4 columns: small enough to read.
constexpr Target kTiny = {.name = "tiny",
                          .lanes = 2,
                          .panel = 4,
                          .tile_rows = 1,
                          .linear = nullptr,
                          .attention = nullptr,
                          .attention_scratch = nullptr,
                          .rotary = nullptr,
                          .gate = nullptr,
                          .embed = nullptr,
                          .layer_norm = nullptr,
                          .pool = nullptr,
                          .normalize = nullptr,
                          .exp_nonpositive = nullptr,
                          .erf = nullptr,
                          .tanh = nullptr};

TEST(Panels, ColumnsOfOneInputLieSideBySideAndTheLastPanelIsNarrow) {
  // w[n][k] = 10 n + k, as in the header: 5 outputs of 2 inputs.
  const float weights[] = {0, 1, 10, 11, 20, 21, 30, 31, 40, 41};
  const float bias[] = {1, 2, 3, 4, 5};
  const auto packed =
      pack(kTiny, {.weights = {.data = weights, .rows = 5, .columns = 2}, .bias = bias});
  ASSERT_TRUE(packed);
  EXPECT_EQ((*packed)->outputs, 5U);
  EXPECT_EQ((*packed)->inputs, 2U);
  EXPECT_THAT(floats((*packed)->panels), ElementsAre(0, 10, 20, 30, 1, 11, 21, 31, 40, 0, 41, 0));
  EXPECT_THAT(floats((*packed)->bias), ElementsAre(1, 2, 3, 4, 5, 0));
}

TEST(Panels, WithoutABiasThereAreZeros) {
  const float weights[] = {7, 8, 9};
  const auto packed = pack(kTiny, {.weights = {.data = weights, .rows = 1, .columns = 3}});
  ASSERT_TRUE(packed);
  EXPECT_THAT(floats((*packed)->panels), ElementsAre(7, 0, 8, 0, 9, 0));
  EXPECT_THAT(floats((*packed)->bias), ElementsAre(0, 0));
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
