// How many CPUs this process may really use.
//
// A container sees every core of its node; what it may use is less: the affinity mask (cpuset) and
// the CFS quota of its cgroup and of every group above it, v1 or v2.
#pragma once

#include <string>
#include <vector>

namespace nacelle::base {

struct CpuBudget {
  unsigned affinity = 1;  // CPUs in the affinity mask
  double quota = 0;       // CPUs by cgroup quota; 0 means no quota

  // Threads that can run at the same time: the smaller of the two, at least 1. A quota of 1.5
  // counts as 1: a second thread would be throttled half of the time.
  [[nodiscard]] unsigned usable() const;
};

// The budget of the calling process. `root` stands before /proc and /sys, so that tests can
// describe other machines; a file that is missing or odd counts as "no quota".
CpuBudget cpu_budget(const std::string& root = "");

// The numbers of the CPUs in the affinity mask.
std::vector<unsigned> cpus_allowed();

}  // namespace nacelle::base
