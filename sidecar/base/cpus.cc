#include "sidecar/base/cpus.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

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

// The smallest quota from `group` up to the root of the hierarchy mounted at `mount`. Inside a
// container the path in /proc/self/cgroup may name folders that only the host sees; those read as
// "no quota", and the mount's own root still counts.
double smallest_quota(const std::string& mount, std::string group,
                      double (*quota_of)(const std::string&)) {
  double smallest = quota_of(mount);
  while (group.size() > 1) {
    smallest = smaller_quota(smallest, quota_of(mount + group));
    group.erase(group.find_last_of('/'));
  }
  return smallest;
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == "cpu") return true;
    if (comma == std::string_view::npos) break;
    controllers.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

unsigned CpuBudget::usable() const {
  unsigned cpus = std::max(1U, affinity);
  if (quota > 0) cpus = std::min(cpus, std::max(1U, static_cast<unsigned>(quota)));
  return cpus;
}

CpuBudget cpu_budget(const std::string& root) {
  CpuBudget budget;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    budget.affinity = static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
  }
  // Lines of /proc/self/cgroup: "hierarchy:controllers:path"; v2 is "0::path".
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      budget.quota =
          smaller_quota(budget.quota, smallest_quota(root + "/sys/fs/cgroup", path, quota_v2));
      budget.quota = smaller_quota(budget.quota,
                                   smallest_quota(root + "/sys/fs/cgroup/unified", path, quota_v2));
    } else if (lists_cpu(controllers)) {
      for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
        budget.quota = smaller_quota(budget.quota, smallest_quota(root + mount, path, quota_v1));
      }
    }
  }
  return budget;
}

}  // namespace nacelle::base
