// CPU time on machines described in a folder.
#include "sidecar/base/cpu_time.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace nacelle::base {
namespace {

using nacelle::testing::TempDir;

// Two CPUs; a tick is 1/100 s. Name and numbers of /proc/self/stat as the kernel writes them.
void describe(const TempDir& root, int user_0, int idle_0, int user_1, int idle_1, int own) {
  const auto line = [](int user, int idle) {
    return std::to_string(user) + " 0 0 " + std::to_string(idle) + " 0 0 0 0 0 0\n";
  };
  root.write("proc/stat", "cpu  " + line(user_0 + user_1, idle_0 + idle_1) + "cpu0 " +
                              line(user_0, idle_0) + "cpu1 " + line(user_1, idle_1) +
                              "intr 5 cpu0 7\n");
  root.write("proc/self/stat", "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 " +
                                   std::to_string(own / 2) + " " + std::to_string(own - own / 2) +
                                   " 0 0 20 0 4 0 100 0 0\n");
}

TEST(CpuTime, CountsTheMachineAndThisProcess) {
  const TempDir root;
  root.write("proc/stat", "cpu  100 20 30 400 50 6 7 8 0 0\ncpu0 100 20 30 400 50 6 7 8 0 0\n");
  root.write("proc/self/stat", "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 55 45 0 0 20 0\n");
  const CpuTimes times = cpu_times(5, {}, root.path());
  EXPECT_EQ(times.at, 5);
  EXPECT_DOUBLE_EQ(times.total, 6.21);
  EXPECT_DOUBLE_EQ(times.busy, 1.71);
  EXPECT_DOUBLE_EQ(times.own, 1);
  EXPECT_TRUE(times.groups.empty());
}

TEST(CpuTime, OnlyTheCpusThatThisProcessMayUseCount) {
  const TempDir root;
  describe(root, 100, 900, 600, 400, 0);
  EXPECT_DOUBLE_EQ(cpu_times(0, {}, root.path()).busy, 7);
  EXPECT_DOUBLE_EQ(cpu_times(0, {1}, root.path()).busy, 6);
  EXPECT_DOUBLE_EQ(cpu_times(0, {1}, root.path()).total, 10);
}

double share(int busy, int own) {  // of 200 ticks on two CPUs
  const TempDir root;
  describe(root, 0, 0, 0, 0, 0);
  const CpuTimes before = cpu_times(0, {}, root.path());
  describe(root, busy / 2, 100 - busy / 2, busy / 2, 100 - busy / 2, own);
  return cpu_share_of_others(before, cpu_times(kSecond, {}, root.path()));
}

TEST(CpuTime, OthersTakeAShareOfWhatThisProcessLeavesThem) {
  EXPECT_DOUBLE_EQ(share(0, 0), 0);
  EXPECT_DOUBLE_EQ(share(100, 0), 0.5);
  EXPECT_DOUBLE_EQ(share(200, 0), 1);
  EXPECT_DOUBLE_EQ(share(200, 40), 1);  // 80 % others, and nothing is idle
  EXPECT_NEAR(share(160, 40), 0.75, 1e-9);
  EXPECT_DOUBLE_EQ(share(200, 100), 1);  // half and half
}

TEST(CpuTime, ItsOwnWorkIsNoPressure) {
  EXPECT_DOUBLE_EQ(share(200, 200), 0);
  EXPECT_NEAR(share(200, 190), 0.1, 1e-9);
  EXPECT_DOUBLE_EQ(share(100, 100), 0);
  EXPECT_DOUBLE_EQ(share(100, 110), 0);  // the two files are not read at the same moment
}

TEST(CpuTime, AQuotaIsSharedWithTheOthersInTheGroup) {
  for (const bool v2 : {false, true}) {
    const TempDir root;
    describe(root, 0, 0, 0, 0, 0);
    const std::string folder = v2 ? "sys/fs/cgroup/pod/" : "sys/fs/cgroup/cpu,cpuacct/pod/";
    root.write("proc/self/cgroup", v2 ? "0::/pod\n" : "4:cpu,cpuacct:/pod\n");
    const auto use = [&](std::int64_t us) {
      if (v2) {
        root.write(folder + "cpu.max", "50000 100000\n");
        root.write(folder + "cpu.stat", "usage_usec " + std::to_string(us) + "\nuser_usec 1\n");
      } else {
        root.write(folder + "cpu.cfs_quota_us", "50000\n");
        root.write(folder + "cpu.cfs_period_us", "100000\n");
        root.write(folder + "cpuacct.usage", std::to_string(us * 1000) + "\n");
      }
    };
    use(1'000'000);
    const CpuTimes before = cpu_times(0, {}, root.path());
    ASSERT_EQ(before.groups.size(), 1U) << v2;
    EXPECT_DOUBLE_EQ(before.groups[0].quota, 0.5);
    // In 2 s the group may take 1 s. This process took 0.2 s, the others 0.6 s of what is left.
    describe(root, 40, 160, 40, 160, 20);
    use(1'800'000);
    EXPECT_NEAR(cpu_share_of_others(before, cpu_times(2 * kSecond, {}, root.path())), 0.75, 1e-9)
        << v2;
  }
}

TEST(CpuTime, NothingToReadIsNoPressure) {
  const TempDir root;
  const CpuTimes nothing = cpu_times(0, {}, root.path());
  EXPECT_EQ(cpu_share_of_others(nothing, cpu_times(kSecond, {}, root.path())), 0);
  root.write("proc/stat", "cpu  x 1\n");
  root.write("proc/self/stat", "7 a S");
  root.write("proc/self/cgroup", "0::/pod\n");
  root.write("sys/fs/cgroup/pod/cpu.max", "5 0\n");
  EXPECT_EQ(cpu_share_of_others(nothing, cpu_times(2 * kSecond, {}, root.path())), 0);
}

TEST(CpuTime, ThisMachineCanBeRead) {
  const CpuTimes times = cpu_times(0);
  EXPECT_GT(times.total, 0);
  EXPECT_GE(times.total, times.busy);
}

}  // namespace
}  // namespace nacelle::base
