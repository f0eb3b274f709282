// What this machine can do at most, measured now: the bounds that bench_kernels prints.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"

namespace nacelle::bench {

// Single-precision products and sums in registers, all threads: floating-point operations per
// nanosecond (GFLOP/s). The best of several tries.
double peak_flops(kernels::cpu::ThreadPool& threads);

// Nanoseconds to read `size` bytes that were read just before, all threads together: from the
// smallest cache that holds them. The best of several tries.
double stream_ns(kernels::cpu::ThreadPool& threads, std::size_t size);

}  // namespace nacelle::bench
