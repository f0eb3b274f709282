// What is learnt from batches, checked against costs that the test knows.
#include "sidecar/schedule/cost.h"

#include <gtest/gtest.h>

namespace nacelle::sidecar {
namespace {

constexpr base::Nanos kFixed = 1'000'000;
constexpr base::Nanos kToken = 10'000;

CostModel taught(std::uint32_t batches) {
  CostModel cost;
  for (std::uint32_t i = 0; i < batches; ++i) {
    const std::uint32_t tokens = 16 + i * 37 % 500;
    cost.learn(tokens, kFixed + kToken * tokens);
  }
  return cost;
}

TEST(Cost, ALineIsFoundAgain) {
  const CostModel cost = taught(50);
  ASSERT_TRUE(cost.known());
  EXPECT_NEAR(cost.fixed_ns(), kFixed, 1);
  EXPECT_NEAR(cost.token_ns(), kToken, 1);
  EXPECT_NEAR(cost.predict_ns(1000), kFixed + 1000.0 * kToken, 1000);
}

TEST(Cost, AFewBatchesAreNotEnough) { EXPECT_FALSE(taught(7).known()); }

TEST(Cost, BatchesOfOneSizeTellTheCostPerTokenOnly) {
  CostModel cost;
  for (int i = 0; i < 20; ++i) cost.learn(100, 2'000'000);
  EXPECT_NEAR(cost.token_ns(), 20'000, 1e-3);
  EXPECT_EQ(cost.fixed_ns(), 0);
}

TEST(Cost, BatchesOfOneSizeLaterKeepWhatWasLearntBefore) {
  CostModel cost = taught(50);
  for (int i = 0; i < 1000; ++i) cost.learn(16, 2 * (kFixed + kToken * 16));
  EXPECT_NEAR(cost.predict_ns(16), 2.0 * (kFixed + kToken * 16), 100);
  EXPECT_NEAR(cost.fixed_ns(), 2 * kFixed, kFixed / 4.0) << "about";
}

TEST(Cost, LargerBatchesThatCostLessAreNoReasonForNegativePrices) {
  CostModel cost;
  for (int i = 0; i < 20; ++i) cost.learn(i % 2 == 0 ? 100 : 200, i % 2 == 0 ? 3'000 : 1'000);
  EXPECT_GE(cost.token_ns(), 0);
  EXPECT_GE(cost.fixed_ns(), 0);
  EXPECT_GT(cost.tokens_within(10'000), 0U);
}

TEST(Cost, ADeviceThatBecomesSlowerIsFollowed) {
  CostModel cost = taught(50);
  for (std::uint32_t i = 0; i < 600; ++i) {
    const std::uint32_t tokens = 16 + i * 37 % 500;
    cost.learn(tokens, 3 * (kFixed + kToken * tokens));
  }
  EXPECT_NEAR(cost.token_ns(), 3 * kToken, 300);
}

TEST(Cost, ATimeHoldsAsManyTokensAsFitBehindTheFixedCost) {
  const CostModel cost = taught(50);
  EXPECT_NEAR(cost.tokens_within(kFixed + 300 * kToken), 300, 1);
  EXPECT_EQ(cost.tokens_within(kFixed), 0U);
  EXPECT_EQ(cost.tokens_within(0), 0U);
  EXPECT_NEAR(cost.tokens_for_share(0.8), 400, 1) << "4 ms of 5";
}

}  // namespace
}  // namespace nacelle::sidecar
