// The CPU backend: any x86-64 machine with AVX2, and faster on one with AVX-512.
//
//   target.h, targets.h    an instruction set's kernels as a table of functions; which can run here
//   avx2.cc, avx512.cc     one vector type each
//   loops/                 the ops, written once over the vector type
//   panels.h               the layout of packed weights
//   thread_pool.h          who computes; backend.cc cuts the ops into its tasks
#pragma once

#include "kernels/kernels.h"

namespace nacelle::kernels::cpu {

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options);

// The targets that this machine can run, best first.
std::span<const std::string_view> usable_targets();

}  // namespace nacelle::kernels::cpu
