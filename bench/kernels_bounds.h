// What this machine can do at most, measured now: the bounds that bench_kernels prints.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"

namespace nacelle::bench {

// Single-precision products and sums in registers, all threads: floating-point operations per
// nanosecond (GFLOP/s). The best of several tries.
double peak_flops(kernels::cpu::ThreadPool& threads);

// The same of products of bf16 pairs and of bytes, by the fastest instruction that this machine has
// for them and this program was compiled for: AMX, then AVX-512 BF16 or VNNI. 0 without one.
double peak_bf16(kernels::cpu::ThreadPool& threads);
double peak_int8(kernels::cpu::ThreadPool& threads);

// Nanoseconds to read `size` bytes that were read just before, all threads together: from the
// smallest cache that holds them. The best of several tries.
double stream_ns(kernels::cpu::ThreadPool& threads, std::size_t size);

}  // namespace nacelle::bench
