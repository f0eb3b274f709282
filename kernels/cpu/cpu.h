// The CPU backend: any x86-64 machine with AVX2, and faster on one with AVX-512.
//
//   target.h, targets.h    an instruction set's kernels as tables of functions; THE LIST of targets
//   features.h             what a CPU can do
//   vectors/               one vector type each
//   loops/                 the ops, written once over the vector type or over a step of a product
//   avx2.cc, avx512.cc     the tables of a vector type; avx512vnni.cc, avx512bf16.cc and amx.cc: of
//                          one kind of product
//   panels.h               the layout of packed weights
//   thread_pool.h          who computes; backend.cc cuts the ops into its tasks
#pragma once

#include "kernels/kernels.h"

namespace nacelle::kernels::cpu {

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options);

// On this target, which the machine must be able to run and which outlives the backend.
struct Target;
base::Result<std::unique_ptr<Backend>> create_on(const Target& target, unsigned threads);

// The targets that this machine can run, best first.
std::span<const std::string_view> usable_targets();

}  // namespace nacelle::kernels::cpu
