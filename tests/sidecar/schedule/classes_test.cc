// Priorities and ageing, with batches of given costs.
#include "sidecar/schedule/classes.h"

#include <gtest/gtest.h>

#include <array>

namespace nacelle::sidecar {
namespace {

// The share of the time that each class gets while those of `waiting` always have work.
std::array<double, kPriorityClasses> shares(std::uint32_t waiting,
                                            std::array<base::Nanos, kPriorityClasses> costs) {
  Classes classes;
  std::array<double, kPriorityClasses> time{};
  double all = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t next = classes.pick(waiting);
    classes.ran(next, waiting, costs[next]);
    time[next] += static_cast<double>(costs[next]);
    all += static_cast<double>(costs[next]);
  }
  for (double& share : time) share /= all;
  return time;
}

TEST(Classes, TheHighestGoesFirst) {
  const Classes classes;
  EXPECT_EQ(classes.pick(0b1111), 0U);
  EXPECT_EQ(classes.pick(0b1100), 2U);
}

TEST(Classes, WhoWaitsGetsItsShareWhateverBatchesCost) {
  for (const auto& costs : {std::array<base::Nanos, 4>{1000, 1000, 1000, 1000},
                            std::array<base::Nanos, 4>{100, 5000, 3000, 700}}) {
    const auto two = shares(0b0101, costs);
    EXPECT_NEAR(two[2], 1.0 / 17, 0.002) << "low beside high";
    const auto all = shares(0b1111, costs);
    EXPECT_NEAR(all[1], 1.0 / 5, 0.005);
    EXPECT_NEAR(all[2], 1.0 / 17, 0.002);
    EXPECT_NEAR(all[3], 1.0 / 65, 0.002);
  }
}

TEST(Classes, AClassEarnsNothingWhileNobodyInItWaits) {
  Classes classes;
  for (int i = 0; i < 1000; ++i) classes.ran(0, 0b0001, 1000);
  EXPECT_EQ(classes.pick(0b0101), 0U);
}

TEST(Classes, WhatAClassGetsFromGapsIsPartOfItsShare) {
  Classes classes;
  for (int i = 0; i < 1000; ++i) classes.ran(2, 0b0100, 1000);
  int others = 0;
  while (classes.pick(0b0101) == 0) {
    classes.ran(0, 0b0101, 1000);
    ASSERT_LE(++others, 16 * 9) << "it owes eight batches, and pays the next one first";
  }
  EXPECT_EQ(others, 16 * 9);
}

}  // namespace
}  // namespace nacelle::sidecar
