// A file system of its own on a loop device, whose power can be cut. Needs root, and a kernel that
// lets it.
#pragma once

#include <optional>
#include <string>

namespace nacelle::crash {

class LoopDisk {
 public:
  // Makes an image in `folder` and a file system ("ext4", "xfs") on it, and mounts it below.
  LoopDisk(std::string folder, std::string type);
  ~LoopDisk();
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  // Why this machine cannot do it.
  [[nodiscard]] const std::optional<std::string>& skip() const { return skip_; }
  [[nodiscard]] std::string path() const { return folder_ + "/disk"; }

  // Nothing reaches the disk from now on: neither what is in memory, nor the file system's own log.
  [[nodiscard]] bool cut_power() const;
  // Takes the dead file system away and mounts what is on the disk, as after a reboot.
  [[nodiscard]] bool reboot();

 private:
  bool mount();
  bool unmount();

  std::string folder_;
  std::string type_;
  std::optional<std::string> skip_;
  bool mounted_ = false;
};

}  // namespace nacelle::crash
