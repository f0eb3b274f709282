// The budget on curves that a test makes up, and on a real model.
#include "sidecar/token_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "sidecar/base/check.h"
#include "tests/support/data.h"

namespace nacelle::sidecar {
namespace {

using base::kMicrosecond;
using base::kMillisecond;
using base::Nanos;
using ::testing::ElementsAre;

constexpr std::uint64_t kGiB = 1ULL << 30;

// A device that takes `fixed` per batch and `per_token` on top, and how often it was asked.
struct Device {
  Nanos fixed = 0;
  Nanos per_token = 0;
  int runs = 0;
  Nanos spent = 0;

  std::vector<ThroughputPoint> sweep(Nanos time_max) {
    auto curve = sidecar::sweep(time_max, [this](std::uint32_t tokens) -> base::Result<Nanos> {
      const Nanos time = fixed + per_token * tokens;
      ++runs;
      spent += time;
      return time;
    });
    CHECK(curve.has_value());
    return *std::move(curve);
  }
};

TEST(TokenBudget, TheUsersRule) {
  EXPECT_EQ(by_free_memory(32, kGiB / 2), 8U);
  EXPECT_EQ(by_free_memory(32, 3 * kGiB / 2), 16U);
  EXPECT_EQ(by_free_memory(32, 8 * kGiB), 32U);
  EXPECT_EQ(by_free_memory(32, kGiB - 1), 8U);
  EXPECT_EQ(by_free_memory(32, kGiB), 16U);
  EXPECT_EQ(by_free_memory(32, 2 * kGiB - 1), 16U);
  EXPECT_EQ(by_free_memory(32, 2 * kGiB), 32U);
  EXPECT_EQ(by_free_memory(1, 0), 1U);
}

TEST(TokenBudget, TheKneeIsWhereLargerBatchesHardlyPay) {
  // t / (fixed + t) of the best rate: 19 times the fixed cost gives 95 % of it.
  Device device{.fixed = 200 * kMicrosecond, .per_token = 10 * kMicrosecond};
  const auto curve = device.sweep(base::kSecond);
  ASSERT_EQ(curve.size(), 7U);  // 64 to 4096
  EXPECT_EQ(knee(curve), 512U);
  EXPECT_EQ(token_ns(curve), 10 * kMicrosecond + 48);
  EXPECT_EQ(knee(Device{.fixed = 0, .per_token = 1000}.sweep(base::kSecond)), 64U);
  EXPECT_EQ(knee(Device{.fixed = base::kMillisecond, .per_token = 1}.sweep(base::kSecond)), 4096U);
  EXPECT_EQ(knee({}), 0U);
}

TEST(TokenBudget, TheSweepStaysWithinItsTime) {
  for (const Nanos per_token : {1'000, 20'000, 100'000, 1'000'000, 30'000'000}) {
    Device device{.fixed = 5'000, .per_token = per_token};
    const Nanos first = 5'000 + 64 * per_token;
    const auto curve = device.sweep(300 * kMillisecond);
    // The first size is always run, once if it takes longer than all of the time.
    EXPECT_GE(curve.size(), 1U);
    EXPECT_LE(device.spent, std::max(300 * kMillisecond, 3 * first)) << per_token;
    EXPECT_TRUE(first <= 300 * kMillisecond || device.runs == 1) << per_token;
  }
  Device unasked{.fixed = 1};
  EXPECT_TRUE(unasked.sweep(0).empty());
  EXPECT_EQ(unasked.runs, 0);
}

TEST(TokenBudget, TheFastestRunOfASizeCounts) {
  int runs = 0;
  const auto curve = sweep(base::kSecond, [&](std::uint32_t tokens) -> base::Result<Nanos> {
    return runs++ % 3 == 1 ? Nanos{tokens} * 1000 : Nanos{tokens} * 3000;
  });
  ASSERT_TRUE(curve);
  for (const ThroughputPoint& point : *curve) EXPECT_EQ(point.time, Nanos{point.tokens} * 1000);
}

TEST(TokenBudget, AnErrorEndsTheSweep) {
  const auto curve = sweep(base::kSecond, [](std::uint32_t) -> base::Result<Nanos> {
    return base::Error{base::Code::kUnavailable, "no device"};
  });
  ASSERT_FALSE(curve);
  EXPECT_EQ(curve.error().message, "no device");
}

TEST(TokenBudget, TheSmallestOfTheThreeButNotLessThanATextWins) {
  const std::vector<ThroughputPoint> curve = {
      {256, 6 * kMillisecond}, {1024, 10'240 * kMicrosecond}, {4096, 40'960 * kMicrosecond}};
  EXPECT_EQ(token_budget({.curve = curve}), 1024U);
  // Half of the memory is for batches.
  EXPECT_EQ(token_budget({.curve = curve, .free_bytes = 2'000'000, .bytes_per_token = 2000}), 500U);
  // Two batches at 10 us per token.
  EXPECT_EQ(token_budget({.curve = curve, .latency_target = 6 * kMillisecond}), 300U);
  EXPECT_EQ(token_budget({.curve = curve, .latency_target = base::kSecond}), 1024U);
  EXPECT_EQ(token_budget({.curve = curve, .latency_target = 6 * kMillisecond, .tokens_min = 512}),
            512U);
  EXPECT_EQ(token_budget({.curve = curve, .free_bytes = 0, .tokens_min = 128}), 128U);
}

TEST(TokenBudget, AFastModelsBatchesAreLargeEnoughForWhatElseABatchCosts) {
  const std::vector<ThroughputPoint> fast = {{64, 64 * kMicrosecond}, {4096, 4096 * kMicrosecond}};
  EXPECT_EQ(knee(fast), 64U);
  EXPECT_EQ(token_budget({.curve = fast}), 2000U);
  const std::vector<ThroughputPoint> faster = {{64, 64}, {4096, 4096}};
  EXPECT_EQ(token_budget({.curve = faster}), kSweepLast);
  const std::vector<ThroughputPoint> slow = {{64, 64 * kMillisecond}};
  EXPECT_EQ(token_budget({.curve = slow}), 64U);
}

TEST(TokenBudget, WithoutAMeasurementFreeMemoryDecides) {
  EXPECT_EQ(token_budget({.free_bytes = kGiB / 2}), kBatchTokensDefault / 4);
  EXPECT_EQ(token_budget({.free_bytes = 3 * kGiB / 2}), kBatchTokensDefault / 2);
  EXPECT_EQ(token_budget({.free_bytes = 8 * kGiB, .latency_target = 1}), kBatchTokensDefault);
  EXPECT_EQ(token_budget({}), kBatchTokensDefault);
}

TEST(TokenBudget, ARealModelIsMeasured) {
  auto backend = kernels::create_backend("auto", 1);
  ASSERT_TRUE(backend);
  for (const char* name : {"tiny-bert", "tiny-classifier"}) {
    auto model = model::load(testing::data_path(name), **backend);
    ASSERT_TRUE(model) << model.error().message;
    const auto curve = measure(**model, base::kSecond);
    ASSERT_TRUE(curve) << curve.error().message;
    ASSERT_FALSE(curve->empty());
    EXPECT_EQ(curve->front().tokens, kSweepFirst);
    for (const ThroughputPoint& point : *curve) EXPECT_GT(point.time, 0) << point.tokens;
    EXPECT_GE(knee(*curve), kSweepFirst);
    EXPECT_GT(bytes_per_token(**model), 16U);
  }
}

}  // namespace
}  // namespace nacelle::sidecar
