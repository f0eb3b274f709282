// What is particular about pooling: modes by hand, rows apart, and scaling as an op of its own. All
// sizes and modes against the reference are in conformance_test.cc.
#include "kernels/pool.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;

class PoolTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = test::make(GetParam());
};

TEST_P(PoolTest, EveryModeByHand) {
  struct Row {
    Pooling pooling;
    float expected[2];
  };
  const float hidden[] = {7, 7, 1, 20, 2, -40, 4, -10, 1, 6};  // of the second: four tokens
  const std::uint32_t offsets[] = {0, 1, 5};
  for (const Row& row :
       {Row{Pooling::kMean, {2, -6}}, Row{Pooling::kFirst, {1, 20}}, Row{Pooling::kLast, {1, 6}},
        Row{Pooling::kMax, {4, 20}}, Row{Pooling::kMeanSqrt, {4, -12}},
        Row{Pooling::kWeightedMean, {2.1F, -6.6F}}}) {
    float out[4];
    backend_->pool({.hidden = hidden,
                    .offsets = offsets,
                    .out = out,
                    .sequences = 2,
                    .width = 2,
                    .pooling = row.pooling,
                    .normalize = false});
    EXPECT_FLOAT_EQ(out[0], 7);
    EXPECT_FLOAT_EQ(out[2], row.expected[0]) << static_cast<int>(row.pooling);
    EXPECT_FLOAT_EQ(out[3], row.expected[1]) << static_cast<int>(row.pooling);
  }
}

TEST_P(PoolTest, RowsApartLeaveWhatIsBetween) {
  constexpr std::uint32_t kWidth = 37;
  constexpr std::uint32_t kStride = 80;
  test::Numbers numbers(3);
  const auto offsets = test::offsets_of({4, 9, 1});
  const auto hidden = numbers.array(std::size_t{14} * kWidth, 1.0F);
  Fenced<float> apart(2 * std::size_t{kStride} + kWidth, 5.0F);
  Fenced<float> close(3 * std::size_t{kWidth}, kNaN);
  Pool op{.hidden = hidden.data(),
          .offsets = offsets.data(),
          .out = apart.data(),
          .sequences = 3,
          .width = kWidth,
          .pooling = Pooling::kMax,
          .normalize = true,
          .out_stride = kStride};
  backend_->pool(op);
  op.out = close.data();
  op.out_stride = 0;
  backend_->pool(op);
  for (std::size_t s = 0; s < 3; ++s) {
    EXPECT_EQ(
        std::memcmp(apart.data() + s * kStride, close.data() + s * kWidth, kWidth * sizeof(float)),
        0);
    for (std::size_t i = kWidth; s < 2 && i < kStride; ++i) EXPECT_EQ(apart[s * kStride + i], 5.0F);
  }
}

TEST_P(PoolTest, NormalizeAgreesWithTheReferenceAndLeavesZeroAlone) {
  const auto reference = test::make("reference");
  test::Numbers numbers(4);
  for (const std::uint32_t width : {1U, 7U, 16U, 33U, 384U}) {
    for (const float magnitude : {0.0F, 1e-20F, 1e-4F, 1.0F, 1e15F, 1e25F}) {
      Fenced<float> rows = numbers.array(std::size_t{9} * width, magnitude);
      Fenced<float> expected(rows.size());
      std::copy_n(rows.data(), rows.size(), expected.data());
      backend_->normalize({.data = rows.data(), .rows = 9, .width = width});
      reference->normalize({.data = expected.data(), .rows = 9, .width = width});
      EXPECT_LE(test::relative_error(rows.data(), expected.data(), rows.size()), 1e-6)
          << width << " at " << magnitude;
      EXPECT_TRUE(rows.intact());
    }
  }
  backend_->normalize({.data = nullptr, .rows = 0, .width = 8});
}

INSTANTIATE_TEST_SUITE_P(All, PoolTest, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

TEST(PoolDeathTest, RowsOverEachOther) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = test::make("cpu", 1);
  float floats[64] = {};
  const std::uint32_t offsets[] = {0, 1};
  EXPECT_DEATH(backend->pool({.hidden = floats,
                              .offsets = offsets,
                              .out = floats + 32,
                              .sequences = 1,
                              .width = 4,
                              .pooling = Pooling::kMean,
                              .normalize = false,
                              .out_stride = 3}),
               "out_stride");
}

}  // namespace
}  // namespace nacelle::kernels
