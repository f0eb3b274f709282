// The scheduler in its simulated world: random days, and days of one kind.
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "tests/sim/world.h"

namespace nacelle::sim {
namespace {

using base::kMicrosecond;
using base::kMillisecond;
using base::kSecond;

std::string told(std::uint64_t seed) {
  return "again with: ./run sim --seed=" + std::to_string(seed);
}

TEST(Sim, NothingIsViolatedInFiveHundredRandomDays) {
  Result all;
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    const Result result = simulate(random_plan(seed), seed);
    ASSERT_EQ(result.violation, "") << told(seed);
    add(all, result);
  }
  // The days have everything in them.
  for (const std::uint64_t count :
       {all.ok, all.failed, all.busy, all.expired, all.cancelled, all.shared, all.too_large}) {
    EXPECT_GT(count, 500U);
  }
}

TEST(Sim, TheSameSeedIsTheSameDay) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Result once = simulate(random_plan(seed), seed);
    const Result again = simulate(random_plan(seed), seed);
    EXPECT_EQ(once.trace, again.trace) << told(seed);
    EXPECT_NE(once.trace, simulate(random_plan(seed), seed + 1000).trace);
  }
}

// D3: deadlines around the time that a request takes.
TEST(Sim, AHundredThousandDeadlinesAroundTheServiceTime) {
  Plan plan;
  plan.services = {{.name = "hasty"}};
  plan.manners = {{.name = "hasty",
                   .clients = 8,
                   .per_second = 250,
                   .texts_max = 1,
                   .deadline_min = 1,
                   .deadline_max = 8 * kMillisecond}};
  plan.duration = 51 * kSecond;
  const Result result = simulate(plan, 3);
  ASSERT_EQ(result.violation, "");
  EXPECT_GE(result.sent, 100'000U);
  EXPECT_GT(result.ok, 10'000U);
  EXPECT_GT(result.expired, 10'000U);
}

// D4: given up in every state.
TEST(Sim, AHundredThousandRequestsGivenUpAroundTheServiceTime) {
  Plan plan;
  plan.services = {{.name = "fickle"}};
  plan.manners = {{.name = "fickle",
                   .clients = 8,
                   .per_second = 250,
                   .texts_max = 1,
                   .gives_up = 1,
                   .patience = 8 * kMillisecond}};
  plan.duration = 51 * kSecond;
  const Result result = simulate(plan, 4);
  ASSERT_EQ(result.violation, "");
  EXPECT_GE(result.sent, 100'000U);
  EXPECT_GT(result.ok, 10'000U);
  EXPECT_GT(result.cancelled, 10'000U);
}

// B6: the services of a legal-advice system, with the limits that its makers gave them.
TEST(Sim, EachServicesLimitsHoldExactlyUnderRandomArrivals) {
  Plan plan;
  plan.services = {{.name = "case_analysis", .max_concurrent = 2, .max_queue_size = 10},
                   {.name = "search", .max_concurrent = 4, .max_queue_size = 20},
                   {.name = "consultation", .max_concurrent = 2, .max_queue_size = 10},
                   {.name = "structuring", .max_concurrent = 3},
                   {.name = "chat", .max_concurrent = 5}};
  plan.manners = {{.name = "all", .clients = 10, .per_second = 40, .burst = 3, .service_last = 4}};
  plan.duration = 2 * kSecond;
  const Result result = simulate(plan, 5);
  ASSERT_EQ(result.violation, "");
  EXPECT_GE(result.sent, 1000U);
  EXPECT_GT(result.busy, 0U) << "the limits were reached";
}

}  // namespace
}  // namespace nacelle::sim
