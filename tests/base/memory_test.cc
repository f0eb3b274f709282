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

TEST(Memory, NothingToReadIsNoLimit) {
  const TempDir root;
  EXPECT_EQ(memory_limit(root.path()), UINT64_MAX);
}

}  // namespace
}  // namespace nacelle::base
