#include "tests/support/one_mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <mutex>
#include <utility>

namespace {

struct Shared {
  void* data = nullptr;
  int users = 0;
};

std::mutex mutex;
std::map<std::pair<dev_t, ino_t>, Shared> shared;

}  // namespace

// The linker has put these between shm/region.cc and the C library: -Wl,--wrap=mmap,--wrap=munmap.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the linker's names
void* __real_mmap(void*, size_t, int, int, int, off_t);
int __real_munmap(void*, size_t);

void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  struct stat status {};
  if ((flags & MAP_SHARED) == 0 || fd < 0 || ::fstat(fd, &status) != 0) {
    return __real_mmap(at, size, protection, flags, fd, offset);
  }
  const std::lock_guard lock(mutex);
  Shared& mapping = shared[{status.st_dev, status.st_ino}];
  if (mapping.users == 0) {
    mapping.data = __real_mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, offset);
    if (mapping.data == MAP_FAILED) return MAP_FAILED;
  }
  mapping.users += 1;
  return mapping.data;
}

int __wrap_munmap(void* data, size_t size) {
  const std::lock_guard lock(mutex);
  for (auto it = shared.begin(); it != shared.end(); ++it) {
    if (it->second.data != data) continue;
    if (--it->second.users > 0) return 0;
    shared.erase(it);
    break;
  }
  return __real_munmap(data, size);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
}

namespace nacelle::testing {

int mappings_shared_by_two() {
  const std::lock_guard lock(mutex);
  int count = 0;
  for (const auto& entry : shared) count += entry.second.users == 2 ? 1 : 0;
  return count;
}

}  // namespace nacelle::testing
