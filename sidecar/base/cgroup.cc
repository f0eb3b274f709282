#include "sidecar/base/cgroup.h"

#include <fstream>

namespace nacelle::base {
namespace {

bool lists(std::string_view controllers, std::string_view wanted) {
  while (!controllers.empty()) {
    const std::size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == wanted) return true;
    if (comma == std::string_view::npos) break;
    controllers.remove_prefix(comma + 1);
  }
  return false;
}

// `group` and all above it, in the hierarchy mounted at `mount`.
void add_folders(const std::string& mount, std::string group, bool v2,
                 std::vector<CgroupFolder>& out) {
  out.push_back({mount, v2});
  while (group.size() > 1) {
    out.push_back({mount + group, v2});
    group.erase(group.find_last_of('/'));
  }
}

}  // namespace

std::vector<CgroupFolder> cgroup_folders(std::string_view controller, const std::string& root) {
  std::vector<CgroupFolder> folders;
  const std::string mounts = root + "/sys/fs/cgroup";
  // Lines of /proc/self/cgroup: "hierarchy:controllers:path"; v2 is "0::path".
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      add_folders(mounts, path, true, folders);
      add_folders(mounts + "/unified", path, true, folders);
    } else if (lists(controllers, controller)) {
      // Mounted under the name of the controller or of all that share its hierarchy.
      add_folders(mounts + "/" + std::string(controller), path, false, folders);
      if (controllers != controller) add_folders(mounts + "/" + controllers, path, false, folders);
    }
  }
  return folders;
}

}  // namespace nacelle::base
