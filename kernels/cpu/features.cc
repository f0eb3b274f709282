// See features.h.
#include "kernels/cpu/features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace nacelle::kernels::cpu {
namespace {

constexpr const char* kNames[kFeatureCount] = {
    "avx2",        "fma",         "f16c",     "avx512f",  "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"};

// Bits of XCR0 (Intel SDM volume 1, 13.1).
constexpr std::uint64_t kSavesAvx = 0x6;        // SSE and AVX
constexpr std::uint64_t kSavesAvx512 = 0xE6;    // and masks, upper halves, upper registers
constexpr std::uint64_t kSavesTiles = 0x60000;  // tile configuration and data

// The register of CPUID that XGETBV needs: without it there is no XCR0 to read.
constexpr std::uint32_t kOsxsave = 1U << 27;

std::uint64_t read_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

// linux/arch/x86/include/uapi/asm/prctl.h: not in every libc's headers.
constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr long kTileData = 18;               // XFEATURE_XTILEDATA

CpuidBits read_bits() {
  CpuidBits bits;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0) bits.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    bits.leaf7_ebx = b;
    bits.leaf7_ecx = c;
    bits.leaf7_edx = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) bits.leaf7_1_eax = a;
  }
  if ((bits.leaf1_ecx & kOsxsave) != 0) bits.xcr0 = read_xcr0();
  if ((bits.xcr0 & kSavesTiles) == kSavesTiles) {
    bits.tiles_permitted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }
  return bits;
}

}  // namespace

Features features_from(const CpuidBits& bits) {
  Features features = 0;
  const auto add = [&features](Features feature, std::uint32_t word, unsigned bit) {
    if ((word >> bit & 1U) != 0) features |= feature;
  };
  if ((bits.xcr0 & kSavesAvx) != kSavesAvx) return 0;
  add(kFma, bits.leaf1_ecx, 12);
  add(kF16c, bits.leaf1_ecx, 29);
  add(kAvx2, bits.leaf7_ebx, 5);
  add(kAvxVnni, bits.leaf7_1_eax, 4);
  if ((bits.xcr0 & kSavesAvx512) == kSavesAvx512) {
    add(kAvx512f, bits.leaf7_ebx, 16);
    add(kAvx512dq, bits.leaf7_ebx, 17);
    add(kAvx512bw, bits.leaf7_ebx, 30);
    add(kAvx512vl, bits.leaf7_ebx, 31);
    add(kAvx512Vnni, bits.leaf7_ecx, 11);
    add(kAvx512Bf16, bits.leaf7_1_eax, 5);
  }
  if ((bits.xcr0 & kSavesTiles) == kSavesTiles && bits.tiles_permitted) {
    add(kAmxBf16, bits.leaf7_edx, 22);
    add(kAmxTile, bits.leaf7_edx, 24);
    add(kAmxInt8, bits.leaf7_edx, 25);
  }
  return features;
}

Features machine_features() {
  static const Features features = features_from(read_bits());
  return features;
}

std::string feature_names(Features features) {
  std::string names;
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    if ((features >> i & 1U) != 0) names += (names.empty() ? "" : ", ") + std::string(kNames[i]);
  }
  return names;
}

}  // namespace nacelle::kernels::cpu
