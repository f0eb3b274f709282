// Waiting for company, where the test knows what comes and what it costs.
#include "sidecar/schedule/window.h"

#include <gtest/gtest.h>

namespace nacelle::sidecar {
namespace {

constexpr base::Nanos kDelay = 5'000'000;

Arrivals every(base::Nanos gap, int count = 40) {
  Arrivals arrivals;
  for (int i = 0; i < count; ++i) arrivals.arrived(i * gap);
  return arrivals;
}

CostModel cost(base::Nanos fixed) {
  CostModel model;
  for (std::uint32_t i = 1; i <= 20; ++i) model.learn(i * 20, fixed + i * 20 * 10'000);
  return model;
}

TEST(Window, BeforeAnythingIsKnownTheWholeDelayIsWaited) {
  const Waiting batch{.oldest = 100, .tokens = 10, .max_delay = kDelay};
  EXPECT_EQ(wait_until(batch, Arrivals(), CostModel()), 100 + kDelay);
  EXPECT_EQ(wait_until(batch, every(10), CostModel()), 100 + kDelay);
}

TEST(Window, WhoComesRarelyIsNotWaitedFor) {
  const Arrivals rare = every(2'000'000);
  const Waiting batch{.oldest = rare.last(), .tokens = 10, .max_delay = kDelay};
  EXPECT_EQ(wait_until(batch, rare, cost(1'000'000)), rare.last());
}

TEST(Window, ABurstIsWaitedForAsLongAsItGoesOn) {
  const Arrivals dense = every(100'000);
  const Waiting batch{.oldest = dense.last() - 200'000, .tokens = 10, .max_delay = kDelay};
  EXPECT_NEAR(static_cast<double>(wait_until(batch, dense, cost(1'000'000))),
              static_cast<double>(dense.last()) + 300'000, 1'000)
      << "three gaps behind the last one";
  const Waiting old{.oldest = dense.last() - kDelay + 50'000, .tokens = 10, .max_delay = kDelay};
  EXPECT_EQ(wait_until(old, dense, cost(1'000'000)), dense.last() + 50'000)
      << "but never past the delay";
}

TEST(Window, TheLatencyTargetLeavesRoomForComputing) {
  Waiting batch{.oldest = 0, .tokens = 100, .max_delay = kDelay, .latency_target = 3'000'000};
  EXPECT_NEAR(static_cast<double>(wait_until(batch, Arrivals(), cost(1'000'000))), 1'000'000, 1'000)
      << "a batch of 100 tokens takes 2 ms";
  batch.latency_target = 1;
  EXPECT_EQ(wait_until(batch, Arrivals(), cost(1'000'000)), 0);
}

TEST(Window, AQuietNightIsSoonForgotten) {
  Arrivals arrivals = every(100'000);
  base::Nanos now = arrivals.last() + 8 * 3600 * base::kSecond;
  for (int i = 0; i < 80; ++i) arrivals.arrived(now += 100'000);
  EXPECT_LT(arrivals.gap_ns(), 1'000'000);
}

}  // namespace
}  // namespace nacelle::sidecar
