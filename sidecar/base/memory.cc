#include "sidecar/base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "sidecar/base/cgroup.h"

namespace nacelle::base {

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
