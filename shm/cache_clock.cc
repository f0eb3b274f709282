#include "shm/cache_clock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"

namespace nacelle::shm {
namespace {

std::int64_t coarse(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * base::kSecond + time.tv_nsec;
}

base::Error cannot_tell(const std::string& why) {
  return {base::Code::kUnavailable,
          "cannot tell whether this process's monotonic clock is the machine's own: " + why};
}

}  // namespace

CacheTimes coarse_times() {
  return {.mono = coarse(CLOCK_MONOTONIC_COARSE), .wall_ns = coarse(CLOCK_REALTIME_COARSE)};
}

base::Result<std::int64_t> parse_monotonic_offset(const char* text) {
  constexpr char kName[] = "monotonic";
  const char* line = std::strstr(text, kName);
  long long seconds = 0;
  long long nanos = 0;
  std::int64_t offset = 0;
  if (line == nullptr || std::sscanf(line + sizeof kName - 1, "%lld %lld", &seconds, &nanos) != 2 ||
      nanos < 0 || nanos >= base::kSecond ||
      __builtin_mul_overflow(seconds, base::kSecond, &offset) ||
      __builtin_add_overflow(offset, nanos, &offset)) {
    return cannot_tell("/proc/self/timens_offsets has no line \"monotonic SECONDS NANOSECONDS\"");
  }
  return offset;
}

base::Result<std::int64_t> monotonic_offset_ns() {
  struct stat own {};
  struct stat children {};
  if (::stat("/proc/self/ns/time", &own) != 0) {
    if (errno == ENOENT && ::access("/proc/self/ns", F_OK) == 0) {
      return 0;  // a kernel without time namespaces
    }
    return cannot_tell("/proc/self/ns/time: " + base::errno_text(errno));
  }
  // The file of offsets is about the children's namespace.
  if (::stat("/proc/self/ns/time_for_children", &children) != 0 || own.st_ino != children.st_ino) {
    return cannot_tell("its children are to have a time namespace of their own");
  }
  const base::Fd file(::open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text{};
  if (!file || ::read(file.get(), text.data(), text.size() - 1) <= 0) {
    return cannot_tell("/proc/self/timens_offsets: " + base::errno_text(errno));
  }
  return parse_monotonic_offset(text.data());
}

}  // namespace nacelle::shm
