// The CPU budget on machines described by files in a folder.
#include "sidecar/base/cpus.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace nacelle::base {
namespace {

using nacelle::testing::TempDir;

TEST(Cpus, UsableIsTheSmallerOfAffinityAndWholeQuota) {
  EXPECT_EQ((CpuBudget{.affinity = 8, .quota = 0}.usable()), 8U) << "no quota";
  EXPECT_EQ((CpuBudget{.affinity = 8, .quota = 2.5}.usable()), 2U);
  EXPECT_EQ((CpuBudget{.affinity = 2, .quota = 4}.usable()), 2U);
  EXPECT_EQ((CpuBudget{.affinity = 4, .quota = 0.5}.usable()), 1U) << "never less than one";
}

TEST(Cpus, ReadsTheQuotaOfVersionTwo) {
  const TempDir root;
  root.write("proc/self/cgroup", "0::/pod/app\n");
  root.write("sys/fs/cgroup/pod/app/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(root.path()).quota, 1.5);
}

TEST(Cpus, TheSmallestQuotaOnTheWayUpCounts) {
  const TempDir root;
  root.write("proc/self/cgroup", "0::/pod/app\n");
  root.write("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n");
  root.write("sys/fs/cgroup/pod/cpu.max", "300000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(root.path()).quota, 3);
}

TEST(Cpus, ReadsTheQuotaOfVersionOne) {
  const TempDir root;
  root.write("proc/self/cgroup", "9:memory:/x\n3:cpu,cpuacct:/kube/pod\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/kube/pod/cpu.cfs_quota_us", "200000\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/kube/pod/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(root.path()).quota, 2);
}

TEST(Cpus, AContainerSeesItsQuotaAtTheMountsRoot) {
  const TempDir root;
  root.write("proc/self/cgroup", "0::/../../host/only\n");
  root.write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_budget(root.path()).quota, 1);
}

TEST(Cpus, OddFilesMeanNoQuota) {
  for (const char* content : {"", "max", "abc def\n", "-1 100000\n", "100000 0\n", "100000"}) {
    const TempDir root;
    root.write("proc/self/cgroup", "0::/\nnonsense\n:::\n");
    root.write("sys/fs/cgroup/cpu.max", content);
    EXPECT_EQ(cpu_budget(root.path()).quota, 0) << '"' << content << '"';
  }
}

TEST(Cpus, NoFilesMeanNoQuota) {
  const TempDir root;
  const CpuBudget budget = cpu_budget(root.path());
  EXPECT_EQ(budget.quota, 0);
  EXPECT_GE(budget.usable(), 1U);
}

}  // namespace
}  // namespace nacelle::base
