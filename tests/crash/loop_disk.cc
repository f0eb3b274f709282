#include "tests/crash/loop_disk.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#include "sidecar/base/fd.h"

namespace nacelle::crash {
namespace {

// FS_IOC_SHUTDOWN of newer headers, and its flag: without flushing the log.
constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t kWithoutLog = 2;
constexpr off_t kImageBytes = 320 << 20;  // the least that mkfs.xfs takes; sparse

// Whether a command ends well; what it says is of no interest.
bool runs(const std::string& command) {
  const int status = std::system((command + " >/dev/null 2>&1").c_str());  // NOLINT(cert-env33-c)
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

LoopDisk::LoopDisk(std::string folder, std::string type)
    : folder_(std::move(folder)), type_(std::move(type)) {
  const std::string image = folder_ + "/image";
  const base::Fd file(::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string make = "mkfs." + type_;
  if (::geteuid() != 0) {
    skip_ = "only root may mount file systems";
  } else if (!runs("command -v " + make)) {
    skip_ = "there is no " + make + " on this machine";
  } else if (!file || ::ftruncate(file.get(), kImageBytes) != 0 || !runs(make + " -q " + image)) {
    skip_ = make + " makes no file system in " + folder_;
  } else if (::mkdir(path().c_str(), 0700) != 0 || !mount()) {
    skip_ = "no " + type_ + " on a loop device can be mounted here";
  }
}

LoopDisk::~LoopDisk() { unmount(); }

bool LoopDisk::mount() {
  mounted_ = runs("mount -t " + type_ + " -o loop " + folder_ + "/image " + path());
  return mounted_;
}

bool LoopDisk::unmount() {
  if (!mounted_) return true;
  mounted_ = !runs("umount " + path());
  return !mounted_;
}

bool LoopDisk::cut_power() const {
  const base::Fd root(::open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::uint32_t how = kWithoutLog;
  return root && ::ioctl(root.get(), kShutdown, &how) == 0;
}

bool LoopDisk::reboot() { return unmount() && mount(); }

}  // namespace nacelle::crash
