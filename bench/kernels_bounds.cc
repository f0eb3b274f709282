// See kernels_bounds.h. Compiled for the machine at hand (-march=native).
#include "bench/kernels_bounds.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "sidecar/base/time.h"

namespace nacelle::bench {
namespace {

#ifdef __AVX512F__
constexpr int kBytes = 64;
constexpr int kChains = 24;
#else
constexpr int kBytes = 32;
constexpr int kChains = 12;
#endif
using Vector = float __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4;
constexpr int kTries = 15;

// Enough independent chains to hide the latency of an FMA on every port.
void multiply_and_add(long steps) {
  Vector chains[kChains] = {};
  Vector factor = {};
  Vector addend = {};
  // The compiler must not know the numbers, or it computes the result itself.
  asm volatile("" : "+v"(factor), "+v"(addend));
  for (long step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) chains[c] = chains[c] * factor + addend;
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) asm volatile("" : "+v"(chains[c]));
  }
}

void read(const float* data, std::size_t count) {
  constexpr std::size_t kStep = std::size_t{8} * kLanes;
  Vector sums[8] = {};
  for (std::size_t i = 0; i + kStep <= count; i += kStep) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < 8; ++v) {
      sums[v] += *static_cast<const Vector*>(static_cast<const void*>(data + i + v * kLanes));
    }
  }
#pragma GCC unroll 8
  for (auto& sum : sums) asm volatile("" : "+v"(sum));
}

}  // namespace

double peak_flops(kernels::cpu::ThreadPool& threads) {
  constexpr long kSteps = 400'000;
  double best = 0;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const base::Nanos begin = base::now_ns();
    threads.run(threads.threads(), [](std::uint32_t, unsigned) { multiply_and_add(kSteps); });
    const auto time = static_cast<double>(base::now_ns() - begin);
    best = std::max(best, 2.0 * kLanes * kChains * kSteps * threads.threads() / time);
  }
  return best;
}

double stream_ns(kernels::cpu::ThreadPool& threads, std::size_t size) {
  // One part a thread, or all of them on this thread: little data is not worth waking anybody.
  const std::size_t share = size / sizeof(float) / threads.threads();
  std::vector<std::vector<Vector>> data(threads.threads());
  for (auto& part : data) part.resize(share / kLanes + 8);
  const auto read_part = [&](std::uint32_t part, unsigned) {
    read(static_cast<const float*>(static_cast<const void*>(data[part].data())), share);
  };
  const auto parts = static_cast<std::uint32_t>(data.size());
  double best = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const base::Nanos begin = base::now_ns();
    threads.run(parts, read_part);
    const base::Nanos middle = base::now_ns();
    for (std::uint32_t part = 0; part < parts; ++part) read_part(part, 0);
    const base::Nanos end = base::now_ns();
    best = std::min(best, static_cast<double>(std::min(middle - begin, end - middle)));
  }
  return best;
}

}  // namespace nacelle::bench
