#include "sidecar/base/cpus.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "sidecar/base/cgroup.h"

namespace nacelle::base {
namespace {

// CPUs that `quota` microseconds in each `period` stand for, or 0 for "no quota".
double ratio(double quota, double period) { return quota > 0 && period > 0 ? quota / period : 0; }

double smaller_quota(double a, double b) {
  if (a == 0) return b;
  if (b == 0) return a;
  return std::min(a, b);
}

double read_number(const std::string& path) {
  std::ifstream file(path);
  double value = 0;
  return file >> value ? value : 0;
}

// cgroup v2: "max 100000" or "150000 100000".
double quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max") return 0;
  std::istringstream number(quota);
  double value = 0;
  return number >> value ? ratio(value, period) : 0;
}

double quota_v1(const std::string& folder) {
  return ratio(read_number(folder + "/cpu.cfs_quota_us"),
               read_number(folder + "/cpu.cfs_period_us"));
}

}  // namespace

unsigned CpuBudget::usable() const {
  unsigned cpus = std::max(1U, affinity);
  if (quota > 0) cpus = std::min(cpus, std::max(1U, static_cast<unsigned>(quota)));
  return cpus;
}

std::vector<unsigned> cpus_allowed() {
  std::vector<unsigned> cpus;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

CpuBudget cpu_budget(const std::string& root) {
  CpuBudget budget;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    budget.affinity = static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
  }
  for (const CgroupFolder& folder : cgroup_folders("cpu", root)) {
    const double quota = folder.v2 ? quota_v2(folder.path) : quota_v1(folder.path);
    budget.quota = smaller_quota(budget.quota, quota);
  }
  return budget;
}

}  // namespace nacelle::base
