// A broken promise about shapes stops the process instead of computing nonsense.
#include <gtest/gtest.h>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

class ContractsDeathTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  std::unique_ptr<Backend> backend_ = test::make(GetParam(), 1);
  float floats_[256] = {};
};

TEST_P(ContractsDeathTest, LinearOutputOverItsInput) {
  auto packed = backend_->pack({.weights = {.data = floats_, .rows = 4, .columns = 4}});
  ASSERT_TRUE(packed);
  const Linear op{.in = floats_, .weights = packed->get(), .out = floats_ + 7, .rows = 2};
  EXPECT_DEATH(backend_->linear(op), "overlap");
  Linear residual = op;
  residual.out = floats_ + 64;
  residual.residual = floats_ + 64;
  EXPECT_DEATH(backend_->linear(residual), "overlap");
}

TEST_P(ContractsDeathTest, LinearWeightsOfAnotherBackend) {
  auto other = test::make(GetParam() == "reference" ? "cpu" : "reference", 1);
  auto packed = other->pack({.weights = {.data = floats_, .rows = 4, .columns = 4}});
  ASSERT_TRUE(packed);
  const Linear op{.in = floats_, .weights = packed->get(), .out = floats_ + 64, .rows = 2};
  EXPECT_DEATH(backend_->linear(op), "CHECK");
}

TEST_P(ContractsDeathTest, LinearRowsOfAnotherTypeThanTheWeights) {
  auto packed = backend_->pack(
      {.weights = {.data = floats_, .rows = 4, .columns = 4}, .format = LinearFormat::kInt8});
  ASSERT_TRUE(packed);
  const Linear op{.in = floats_, .weights = packed->get(), .out = floats_ + 64, .rows = 2};
  EXPECT_DEATH(backend_->linear(op), "kI8");
}

TEST_P(ContractsDeathTest, CodesWithoutScales) {
  std::int8_t codes[64] = {};
  EXPECT_DEATH(static_cast<void>(backend_->pack(
                   {.weights = {.data = codes, .type = ElementType::kI8, .rows = 4, .columns = 4},
                    .format = LinearFormat::kInt8})),
               "scales");
  EXPECT_DEATH(backend_->quantize({.in = floats_, .out = {.codes = codes}, .rows = 1, .width = 64}),
               "scales");
}

TEST_P(ContractsDeathTest, CodesOverTheirOwnRow) {
  auto* codes = static_cast<std::int8_t*>(static_cast<void*>(floats_));
  EXPECT_DEATH(backend_->quantize({.in = floats_,
                                   .out = {.codes = codes, .scales = floats_ + 128},
                                   .rows = 1,
                                   .width = 64}),
               "overlap");
}

TEST_P(ContractsDeathTest, WeightsWithoutRows) {
  EXPECT_DEATH(static_cast<void>(backend_->pack({.weights = {.data = floats_}})), "rows > 0");
}

TEST_P(ContractsDeathTest, OffsetsThatFall) {
  const std::uint32_t offsets[] = {0, 3, 2};
  const Attention op{.qkv = floats_,
                     .offsets = offsets,
                     .out = floats_ + 128,
                     .sequences = 2,
                     .heads = 1,
                     .head_width = 4};
  EXPECT_DEATH(backend_->attention(op), "offsets");
}

TEST_P(ContractsDeathTest, OffsetsThatDoNotStartAtZero) {
  const std::uint32_t offsets[] = {1, 3};
  const Pool op{.hidden = floats_,
                .offsets = offsets,
                .out = floats_ + 128,
                .sequences = 1,
                .width = 4,
                .pooling = Pooling::kMean,
                .normalize = false};
  EXPECT_DEATH(backend_->pool(op), "offsets");
}

TEST_P(ContractsDeathTest, APooledSequenceWithoutTokens) {
  const std::uint32_t offsets[] = {0, 2, 2};
  const Pool op{.hidden = floats_,
                .offsets = offsets,
                .out = floats_ + 128,
                .sequences = 2,
                .width = 4,
                .pooling = Pooling::kMean,
                .normalize = false};
  EXPECT_DEATH(backend_->pool(op), "offsets");
}

TEST_P(ContractsDeathTest, ASequenceLongerThanThePositions) {
  const std::uint32_t offsets[] = {0, 5};
  const std::uint32_t ids[5] = {};
  const Tensor table{.data = floats_, .rows = 4, .columns = 4};
  const EmbedNorm op{.ids = ids,
                     .types = nullptr,
                     .offsets = offsets,
                     .words = table,
                     .positions = table,
                     .types_table = table,
                     .gamma = floats_,
                     .beta = floats_,
                     .out = floats_ + 128,
                     .sequences = 1,
                     .width = 4,
                     .epsilon = 1e-12F};
  EXPECT_DEATH(backend_->embed(op), "positions.rows");
}

TEST_P(ContractsDeathTest, LayerNormOverlappingHalfway) {
  const LayerNorm op{.in = floats_,
                     .gamma = floats_ + 100,
                     .beta = floats_ + 100,
                     .out = floats_ + 4,
                     .rows = 2,
                     .width = 8,
                     .epsilon = 0};
  EXPECT_DEATH(backend_->layer_norm(op), "overlap");
}

INSTANTIATE_TEST_SUITE_P(All, ContractsDeathTest, testing::Values("cpu", "reference"),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
