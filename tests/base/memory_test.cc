// The limits of machines described in a folder.
#include "sidecar/base/memory.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace nacelle::base {
namespace {

using nacelle::testing::TempDir;

TEST(Memory, TheMachinesMemoryIsTheLimitWithoutGroups) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 5 kB\n");
  EXPECT_EQ(memory_limit(root.path()), 1000U * 1024);
}

TEST(Memory, TheSmallestLimitUpToTheRootCounts) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal: 1000000 kB\n");
  root.write("proc/self/cgroup", "0::/pod/app\n");
  root.write("sys/fs/cgroup/pod/app/memory.max", "max\n");
  root.write("sys/fs/cgroup/pod/memory.max", "4096000\n");
  EXPECT_EQ(memory_limit(root.path()), 4'096'000U);
}

TEST(Memory, VersionOneIsReadWhereItIsMounted) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal: 1000000 kB\n");
  root.write("proc/self/cgroup", "8:cpu,cpuacct:/x\n7:memory:/x\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "65536000\n");
  EXPECT_EQ(memory_limit(root.path()), 65'536'000U);
}

TEST(Memory, WhatIsLeftIsTheMachinesWithoutGroups) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable: 250 kB\n");
  const MemoryUse use = memory_use(root.path());
  EXPECT_EQ(use.available, 250U * 1024);
  EXPECT_DOUBLE_EQ(use.used, 0.75);
}

TEST(Memory, TheFullestGroupSaysHowMuchIsUsed) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n");
  root.write("proc/self/cgroup", "0::/pod/app\n");
  root.write("sys/fs/cgroup/pod/app/memory.max", "1000000\n");
  root.write("sys/fs/cgroup/pod/app/memory.current", "700000\n");
  root.write("sys/fs/cgroup/pod/app/memory.stat",
             "anon 300000\nfile 400000\ninactive_file 200000\nactive_file 200000\n");
  root.write("sys/fs/cgroup/pod/memory.max", "10000000\n");
  root.write("sys/fs/cgroup/pod/memory.current", "9200000\n");
  const MemoryUse use = memory_use(root.path());
  EXPECT_EQ(use.available, 500'000U);
  EXPECT_DOUBLE_EQ(use.used, 0.92);
}

TEST(Memory, VersionOneSaysItWithOtherNames) {
  const TempDir root;
  root.write("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n");
  root.write("proc/self/cgroup", "7:memory:/x\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000\n");
  root.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1000000\n");
  root.write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "950000\n");
  root.write("sys/fs/cgroup/memory/x/memory.stat",
             "inactive_file 7\ntotal_cache 9\ntotal_inactive_file 250000\n");
  const MemoryUse use = memory_use(root.path());
  EXPECT_EQ(use.available, 300'000U);
  EXPECT_DOUBLE_EQ(use.used, 0.7);
}

TEST(Memory, NothingToReadIsNoUse) {
  const TempDir root;
  EXPECT_EQ(memory_use(root.path()).available, UINT64_MAX);
  EXPECT_EQ(memory_use(root.path()).used, 0);
}

TEST(Memory, ThisMachineUsesSome) {
  const MemoryUse use = memory_use();
  EXPECT_GT(use.used, 0);
  EXPECT_LE(use.used, 1);
  EXPECT_LT(use.available, memory_limit());
}

TEST(Memory, NothingToReadIsNoLimit) {
  const TempDir root;
  EXPECT_EQ(memory_limit(root.path()), UINT64_MAX);
}

}  // namespace
}  // namespace nacelle::base
