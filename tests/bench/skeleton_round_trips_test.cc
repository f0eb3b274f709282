// The peers of `./run bench skeleton` do what they say, or say why not.
#include "bench/skeleton_round_trips.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>

namespace nacelle::bench {
namespace {

TEST(SkeletonRoundTrips, EveryEchoOfASocketIsTimed) {
  const auto times = socket_round_trips(1000);
  ASSERT_TRUE(times) << times.error().message;
  EXPECT_EQ(times->size(), 1000U);
  EXPECT_GT(*std::min_element(times->begin(), times->end()), 0);
}

TEST(SkeletonRoundTrips, EveryRoundTripOfALineIsTimed) {
  cpu_set_t usable;
  ASSERT_EQ(sched_getaffinity(0, sizeof usable, &usable), 0);
  std::vector<unsigned> cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &usable)) cpus.push_back(cpu);
  }
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  const auto times = cache_line_round_trips(1000, cpus[0], cpus[1]);
  ASSERT_TRUE(times) << times.error().message;
  EXPECT_EQ(times->size(), 1000U);
}

TEST(SkeletonRoundTrips, ACpuThatIsNotThereIsAnErrorAndNobodyWaits) {
  EXPECT_FALSE(cache_line_round_trips(1000, 0, 1'000'000));
  EXPECT_FALSE(cache_line_round_trips(1000, 1'000'000, 0));
}

TEST(SkeletonRoundTrips, NoneOrTooManyAreRefused) {
  EXPECT_FALSE(socket_round_trips(0));
  EXPECT_FALSE(socket_round_trips(kRoundTripsMax + 1));
  EXPECT_FALSE(cache_line_round_trips(0, 0, 1));
  EXPECT_FALSE(cache_line_round_trips(1, 1, 1));
}

}  // namespace
}  // namespace nacelle::bench
