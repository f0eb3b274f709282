// Every AMX instruction that the kernels use: a register is a number, 0 to 7.
//
// A tile holds up to 16 rows of 64 bytes. tests/kernels/amx_emulator.h has the same functions in
// plain C++, so that the kernels are tested on machines without AMX.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nacelle::kernels::cpu {

// What LDTILECFG reads (Intel SDM volume 2, LDTILECFG).
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};  // of tile i; 0 when it is not used
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

namespace {

// As assembly, because gcc's intrinsics take literal register numbers only, and its LDTILECFG
// declares too few bytes as read. "memory" keeps stores to what a tile loads in front of the load.
struct AmxTiles {
  static void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
  static void release() { asm volatile("tilerelease" ::: "memory"); }
  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* p, std::size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
  }
  // The same for what is not read again soon: it leaves the first-level cache to others.
  template <int kTile>
  static void load_once(const void* p, std::size_t stride) {
    asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* p, std::size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
  }
  // kSums[m][n] += sum over k, i of kA[m][k].i * kB[k][n].i, for the 4 codes or 2 bf16 of a 32-bit
  // element.
  template <int kSums, int kA, int kB>
  static void dot_int8() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kA), "i"(kB));
  }
  template <int kSums, int kA, int kB>
  static void dot_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kA), "i"(kB));
  }
};

}  // namespace
}  // namespace nacelle::kernels::cpu
