// How much of the CPU time other processes take: of the CPUs that this process may use, and of the
// quota of its control groups, v1 or v2.
#pragma once

#include <string>
#include <vector>

#include "sidecar/base/time.h"

namespace nacelle::base {

// Counts that only grow, in CPU seconds.
struct CpuTimes {
  Nanos at = 0;      // when they were read
  double total = 0;  // of the CPUs that this process may use, idle time included
  double busy = 0;   // of these, used by anyone
  double own = 0;    // used by this process
  struct Group {     // a control group of this process that has a quota
    std::string path;
    double quota = 0;  // CPUs
    double used = 0;   // by everyone in it
  };
  std::vector<Group> groups = {};
};

// `cpus` are the numbers of those that count; none: all. `root` stands before /proc and /sys, so
// that tests can describe other machines; what cannot be read counts as 0.
CpuTimes cpu_times(Nanos now, const std::vector<unsigned>& cpus = {}, const std::string& root = "");

// The share, 0 to 1, that others took between two readings of what this process left them, which
// counts as at least half of all: a process that has the CPUs nearly to itself leaves little, and
// what little the others do with it is no sign that they lack anything.
double cpu_share_of_others(const CpuTimes& before, const CpuTimes& after);

}  // namespace nacelle::base
