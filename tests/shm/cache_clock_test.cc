// Clocks as readers of the cache use them: coarse, and of one time namespace or another.
#include "shm/cache_clock.h"

#include <gtest/gtest.h>

#include <ctime>

#include "sidecar/base/time.h"

namespace nacelle::shm {
namespace {

TEST(CacheClock, CoarseTimesAreTheClocksAsOfTheLastTick) {
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  const base::Nanos mono = base::now_ns();
  const CacheTimes times = coarse_times();
  EXPECT_LE(times.mono, base::now_ns());
  EXPECT_GT(times.mono, mono - base::kSecond);
  EXPECT_NEAR(static_cast<double>(times.wall_ns),
              static_cast<double>(wall.tv_sec) * 1e9 + static_cast<double>(wall.tv_nsec), 60e9);
}

TEST(CacheClock, TheNamespacesOffsetIsReadFromTheKernelsText) {
  EXPECT_EQ(*parse_monotonic_offset("monotonic           0         0\nboottime  5  0\n"), 0);
  EXPECT_EQ(*parse_monotonic_offset("monotonic       86400 250\nboottime            0         0\n"),
            86'400 * base::kSecond + 250);
  EXPECT_EQ(*parse_monotonic_offset("monotonic -3 999999999\n"), -3 * base::kSecond + 999'999'999);
  for (const char* bad :
       {"", "boottime 0 0\n", "monotonic\n", "monotonic 1\n", "monotonic x y\n",
        "monotonic 1 1000000000\n", "monotonic 1 -1\n", "monotonic 9999999999999 0\n"}) {
    EXPECT_FALSE(parse_monotonic_offset(bad)) << bad;
  }
}

TEST(CacheClock, ThisProcessCanTellItsOffset) {
  const auto offset = monotonic_offset_ns();
  ASSERT_TRUE(offset) << offset.error().message;
}

}  // namespace
}  // namespace nacelle::shm
