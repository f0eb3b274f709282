// Which instruction sets this binary has kernels for, and which of them this CPU can run.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/cpu/features.h"
#include "kernels/cpu/target.h"
#include "sidecar/base/result.h"

namespace nacelle::kernels::cpu {

// One line of the list in targets.cc.
struct TargetEntry {
  Target target;
  Features needs;
};

// All targets, best first.
std::span<const TargetEntry> all_targets();

// The target of that name, or the best one for "", on a machine with these features. kNotFound when
// there is none of that name, kUnavailable when the machine lacks what it needs; both say what
// would work.
base::Result<const Target*> find_target(std::string_view name,
                                        Features features = machine_features());

// The names of the targets that this machine can run, best first.
std::span<const std::string_view> usable_targets();

}  // namespace nacelle::kernels::cpu
