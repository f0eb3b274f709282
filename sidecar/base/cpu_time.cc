#include "sidecar/base/cpu_time.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "sidecar/base/cgroup.h"

namespace nacelle::base {
namespace {

double ticks_per_second() { return static_cast<double>(::sysconf(_SC_CLK_TCK)); }

double read_number(const std::string& path) {
  std::ifstream file(path);
  double number = 0;
  return file >> number ? number : 0;
}

// /proc/stat: "cpu3 user nice system idle iowait irq softirq steal guest guest_nice", in ticks;
// guests are in user and nice already. "cpu" is the sum of all.
void add_machine(const std::vector<unsigned>& cpus, const std::string& root, CpuTimes& times) {
  std::ifstream stat(root + "/proc/stat");
  double total = 0;
  double busy = 0;
  std::string line;
  while (std::getline(stat, line) && line.starts_with("cpu")) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    const auto is_wanted = [&](unsigned cpu) { return name == "cpu" + std::to_string(cpu); };
    if (cpus.empty() ? name != "cpu" : std::none_of(cpus.begin(), cpus.end(), is_wanted)) continue;
    constexpr int kStates = 8;
    for (int state = 0; state < kStates; ++state) {
      double ticks = 0;
      if (!(words >> ticks)) break;
      const bool idle = state == 3 || state == 4;
      total += ticks;
      if (!idle) busy += ticks;
    }
  }
  times.total = total / ticks_per_second();
  times.busy = busy / ticks_per_second();
}

// /proc/self/stat: user and system time are the 12th and 13th word behind the name, which stands
// in parentheses and may hold anything.
double own_time(const std::string& root) {
  std::ifstream file(root + "/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream words(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) words >> skipped;
  double user = 0;
  double system = 0;
  return words >> user >> system ? (user + system) / ticks_per_second() : 0;
}

// cgroup v2: cpu.max is "150000 100000" or "max 100000"; cpu.stat begins with "usage_usec N".
CpuTimes::Group read_v2(const std::string& folder) {
  CpuTimes::Group group{.path = folder};
  double quota = 0;  // "max" does not read as a number
  double period = 0;
  if (std::ifstream max(folder + "/cpu.max"); max >> quota >> period && period > 0) {
    group.quota = quota / period;
  }
  std::ifstream stat(folder + "/cpu.stat");
  std::string name;
  for (double number = 0; stat >> name >> number;) {
    if (name == "usage_usec") group.used = number / 1e6;
  }
  return group;
}

// v1: the two controllers share a mount wherever a quota is used.
CpuTimes::Group read_v1(const std::string& folder) {
  const double quota = read_number(folder + "/cpu.cfs_quota_us");
  const double period = read_number(folder + "/cpu.cfs_period_us");
  return {.path = folder,
          .quota = quota > 0 && period > 0 ? quota / period : 0,
          .used = read_number(folder + "/cpuacct.usage") / 1e9};
}

double share(double others, double own, double all) {
  if (all <= 0) return 0;
  return std::clamp(others / std::max(all - own, all / 2), 0.0, 1.0);
}

}  // namespace

CpuTimes cpu_times(Nanos now, const std::vector<unsigned>& cpus, const std::string& root) {
  CpuTimes times{.at = now};
  add_machine(cpus, root, times);
  times.own = own_time(root);
  for (const CgroupFolder& folder : cgroup_folders("cpu", root)) {
    CpuTimes::Group group = folder.v2 ? read_v2(folder.path) : read_v1(folder.path);
    if (group.quota > 0) times.groups.push_back(std::move(group));
  }
  return times;
}

double cpu_share_of_others(const CpuTimes& before, const CpuTimes& after) {
  const double own = after.own - before.own;
  double most = share(after.busy - before.busy - own, own, after.total - before.total);
  const double seconds = static_cast<double>(after.at - before.at) / double{kSecond};
  for (const CpuTimes::Group& now : after.groups) {
    const auto then = std::find_if(before.groups.begin(), before.groups.end(),
                                   [&](const auto& group) { return group.path == now.path; });
    if (then == before.groups.end()) continue;
    most = std::max(most, share(now.used - then->used - own, own, now.quota * seconds));
  }
  return most;
}

}  // namespace nacelle::base
