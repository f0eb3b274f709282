#include "sidecar/base/slices.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace nacelle::base {
namespace {

// The kernel's struct sched_attr in its first version (sched_setattr(2)), which glibc 2.36 lacks.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // ns; of an ordinary thread its slice
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(SchedulingAttributes) == 48);

constexpr std::uint32_t kOrdinary = 0;  // SCHED_OTHER

}  // namespace

void take_short_slices(Nanos slice) {
  SchedulingAttributes attributes;
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != kOrdinary) return;  // somebody has decided otherwise
  attributes.runtime = static_cast<std::uint64_t>(slice);
  attributes.flags = 0;
  // An older kernel takes no notice, a sandbox may refuse: either way all is as it was.
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace nacelle::base
