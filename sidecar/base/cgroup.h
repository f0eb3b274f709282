// Where the limits of this process's control groups stand, v1 and v2.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nacelle::base {

struct CgroupFolder {
  std::string path;
  bool v2 = false;  // the file names differ
};

// The folders whose limits hold for the calling process under `controller` ("cpu", "memory"): its
// own group's and those of every group above it. Inside a container the path in /proc/self/cgroup
// may name folders that only the host sees; those are listed, too, and have no files to read.
// `root` stands before /proc and /sys, so that tests can describe other machines.
std::vector<CgroupFolder> cgroup_folders(std::string_view controller, const std::string& root = "");

}  // namespace nacelle::base
