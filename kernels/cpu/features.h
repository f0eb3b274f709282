// What a CPU can do, as a set of bits: asked for once, and a plain value from then on, so that a
// test can be any machine.
//
// Family and model numbers are never looked at: hypervisors mask them.
#pragma once

#include <cstdint>
#include <string>

namespace nacelle::kernels::cpu {

using Features = std::uint32_t;

inline constexpr Features kAvx2 = 1U << 0;
inline constexpr Features kFma = 1U << 1;
inline constexpr Features kF16c = 1U << 2;
inline constexpr Features kAvx512f = 1U << 3;
inline constexpr Features kAvx512bw = 1U << 4;
inline constexpr Features kAvx512dq = 1U << 5;
inline constexpr Features kAvx512vl = 1U << 6;
inline constexpr Features kAvx512Vnni = 1U << 7;
inline constexpr Features kAvx512Bf16 = 1U << 8;
inline constexpr Features kAvxVnni = 1U << 9;
inline constexpr Features kAmxTile = 1U << 10;
inline constexpr Features kAmxInt8 = 1U << 11;
inline constexpr Features kAmxBf16 = 1U << 12;
inline constexpr unsigned kFeatureCount = 13;

// The answers of CPUID and XGETBV that name them.
struct CpuidBits {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_ecx = 0;
  std::uint32_t leaf7_edx = 0;
  std::uint32_t leaf7_1_eax = 0;  // subleaf 1
  std::uint64_t xcr0 = 0;         // the registers that the operating system saves
  bool tiles_permitted = false;   // by the kernel, for this process: see machine_features()
};

// The features whose instructions may be used: those whose registers are saved and permitted.
Features features_from(const CpuidBits& bits);

// This machine's. Asks Linux for the use of AMX's registers once, where there are any: it grants
// them to a process that asks (arch_prctl), and then to all its threads.
Features machine_features();

// The names of the features in the set, e.g. "avx512f, avx512vl".
std::string feature_names(Features features);

}  // namespace nacelle::kernels::cpu
