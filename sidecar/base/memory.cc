#include "sidecar/base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

#include "sidecar/base/cgroup.h"

namespace nacelle::base {
namespace {

// The number behind `name` in a file of "name number" or "name: number kB" lines; 0 without one.
std::uint64_t number_in(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(name) || line.size() <= name.size()) continue;
    const char behind = line[name.size()];
    if (behind != ' ' && behind != ':') continue;
    std::istringstream rest(line.substr(name.size() + 1));
    std::uint64_t number = 0;
    return rest >> number ? number : 0;
  }
  return 0;
}

std::uint64_t read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;  // "max" does not read as a number
  return file >> number ? number : 0;
}

void count(std::uint64_t limit, std::uint64_t used, MemoryUse& use) {
  used = std::min(used, limit);
  use.available = std::min(use.available, limit - used);
  use.used = std::max(use.used, static_cast<double>(used) / static_cast<double>(limit));
}

}  // namespace

MemoryUse memory_use(const std::string& root) {
  MemoryUse use;
  const std::string meminfo = root + "/proc/meminfo";
  const std::uint64_t total = number_in(meminfo, "MemTotal") * 1024;
  if (total > 0) {
    count(total, total - std::min(total, number_in(meminfo, "MemAvailable") * 1024), use);
  }
  for (const CgroupFolder& folder : cgroup_folders("memory", root)) {
    const std::uint64_t limit =
        read_number(folder.path + (folder.v2 ? "/memory.max" : "/memory.limit_in_bytes"));
    if (limit == 0 || (total > 0 && limit > total)) continue;  // none, or version 1's way to say so
    const std::uint64_t taken =
        read_number(folder.path + (folder.v2 ? "/memory.current" : "/memory.usage_in_bytes"));
    // What kubectl top shows, and what a kubelet evicts by.
    const std::uint64_t unused = number_in(folder.path + "/memory.stat",
                                           folder.v2 ? "inactive_file" : "total_inactive_file");
    count(limit, taken - std::min(taken, unused), use);
  }
  return use;
}

std::uint64_t memory_limit(const std::string& root) {
  std::uint64_t limit = UINT64_MAX;
  std::ifstream machine(root + "/proc/meminfo");
  std::string word;
  while (machine >> word) {
    std::uint64_t kib = 0;
    if (word != "MemTotal:") continue;
    if (machine >> kib) limit = kib * 1024;
    break;
  }
  for (const CgroupFolder& folder : cgroup_folders("memory", root)) {
    std::ifstream file(folder.path + (folder.v2 ? "/memory.max" : "/memory.limit_in_bytes"));
    std::uint64_t bytes = 0;  // "max" does not read as a number
    if (file >> bytes) limit = std::min(limit, bytes);
  }
  return limit;
}

std::uint64_t resident_memory() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace nacelle::base
