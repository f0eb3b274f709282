// How much memory this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace nacelle::base {

// Bytes: the smallest limit of this process's control groups, v1 or v2, or the machine's memory
// when that is less. `root` stands before /proc and /sys, so that tests can describe other
// machines. UINT64_MAX when nothing can be read.
std::uint64_t memory_limit(const std::string& root = "");

// What is left of it. Memory that the kernel gives back without harm (file pages not used lately)
// counts as free.
struct MemoryUse {
  std::uint64_t available = UINT64_MAX;  // bytes, where there is least
  double used = 0;                       // 0 to 1, where it is fullest: the machine or a group
};

// Now, for this process; nothing to read is the default above.
MemoryUse memory_use(const std::string& root = "");

// Bytes of this process that are resident; 0 when the kernel does not tell.
std::uint64_t resident_memory();

}  // namespace nacelle::base
