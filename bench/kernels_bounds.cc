// See kernels_bounds.h. Compiled for the machine at hand (-march=native).
#include "bench/kernels_bounds.h"

#if defined(__AVX512VNNI__) || defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/features.h"
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

// Operations of a step of the two below: 24 registers of 16 sums, each of so many products and
// sums.
constexpr double kDotOperations = 24.0 * 16 * 2;

#ifdef __AVX512VNNI__
constexpr double kVnniProducts = 4;
void dot_bytes(long steps) {
  __m512i sums[24] = {};
  __m512i a = {};
  __m512i b = {};
  asm volatile("" : "+v"(a), "+v"(b));
  for (long step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
#pragma GCC unroll 24
    for (auto& sum : sums) asm volatile("" : "+v"(sum));
  }
}
#else
constexpr double kVnniProducts = 0;
void dot_bytes(long /*steps*/) {}
#endif

#ifdef __AVX512BF16__
constexpr double kDotProducts = 2;
void dot_pairs(long steps) {
  __m512 sums[24] = {};
  __m512i a = {};
  __m512i b = {};
  asm volatile("" : "+v"(a), "+v"(b));
  const auto x = __builtin_bit_cast(__m512bh, a);
  const auto y = __builtin_bit_cast(__m512bh, b);
  for (long step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, x, y);
#pragma GCC unroll 24
    for (auto& sum : sums) asm volatile("" : "+v"(sum));
  }
}
#else
constexpr double kDotProducts = 0;
void dot_pairs(long /*steps*/) {}
#endif

// Four tiles of 16 x 16 sums over 64 bytes a row, in registers.
using Tiles = kernels::cpu::AmxTiles;
template <typename Dot>
void dot_tiles(long steps, Dot dot) {
  kernels::cpu::TileConfig config;
  std::fill_n(config.rows, 8, std::uint8_t{16});
  std::fill_n(config.row_bytes, 8, std::uint16_t{64});
  Tiles::configure(config);
  for (long step = 0; step < steps; ++step) dot();
  Tiles::release();
}
constexpr double kTileOperations = 4.0 * 16 * 16 * 2;  // for one product an element

bool has(kernels::cpu::Features features) {
  return (kernels::cpu::machine_features() & features) == features;
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

namespace {

// The best of several tries of `run(steps)` on every thread, of `operations` a step.
template <typename Run>
double best_rate(kernels::cpu::ThreadPool& threads, double operations, Run run) {
  constexpr long kSteps = 400'000;
  double best = 0;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const base::Nanos begin = base::now_ns();
    threads.run(threads.threads(), [&](std::uint32_t, unsigned) { run(kSteps); });
    const auto time = static_cast<double>(base::now_ns() - begin);
    best = std::max(best, operations * kSteps * threads.threads() / time);
  }
  return best;
}

}  // namespace

double peak_flops(kernels::cpu::ThreadPool& threads) {
  return best_rate(threads, 2.0 * kLanes * kChains, multiply_and_add);
}

double peak_bf16(kernels::cpu::ThreadPool& threads) {
  if (has(kernels::cpu::kAmxTile | kernels::cpu::kAmxBf16)) {
    return best_rate(threads, kTileOperations * 32, [](long steps) {
      dot_tiles(steps, [] {
        Tiles::dot_bf16<0, 4, 6>();
        Tiles::dot_bf16<1, 4, 7>();
        Tiles::dot_bf16<2, 5, 6>();
        Tiles::dot_bf16<3, 5, 7>();
      });
    });
  }
  if (kDotProducts == 0 || !has(kernels::cpu::kAvx512Bf16)) return 0;
  return best_rate(threads, kDotOperations * kDotProducts, dot_pairs);
}

double peak_int8(kernels::cpu::ThreadPool& threads) {
  if (has(kernels::cpu::kAmxTile | kernels::cpu::kAmxInt8)) {
    return best_rate(threads, kTileOperations * 64, [](long steps) {
      dot_tiles(steps, [] {
        Tiles::dot_int8<0, 4, 6>();
        Tiles::dot_int8<1, 4, 7>();
        Tiles::dot_int8<2, 5, 6>();
        Tiles::dot_int8<3, 5, 7>();
      });
    });
  }
  if (kVnniProducts == 0 || !has(kernels::cpu::kAvx512Vnni)) return 0;
  return best_rate(threads, kDotOperations * kVnniProducts, dot_bytes);
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
