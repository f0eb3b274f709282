// The tables of AVX2, with FMA and F16C, as on every x86-64 core since 2013 (Intel) and 2015 (AMD).
//
// Tile   6 rows of 2 vectors: 12 accumulators, 2 weights and a broadcast in 16 registers. A step
//        over k is 12 FMAs (6 cycles on two ports) for 8 loads.
#include "kernels/cpu/vectors/avx2.h"

#include "kernels/cpu/loops/table.h"

namespace nacelle::kernels::cpu {
namespace {

struct Avx2Bf16 {
  using Vector = Avx2;
  static constexpr unsigned kTileRows = 6;
  static constexpr unsigned kTileVectors = 2;
  static __m256i pairs(const char* p) {
    return _mm256_loadu_si256(static_cast<const __m256i_u*>(static_cast<const void*>(p)));
  }
  static __m256 even(const char* p) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs(p), 16)); }
  static __m256 odd(const char* p) {
    // Shifts, because a mask would take the sixteenth register.
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(pairs(p), 16), 16));
  }
};

struct Avx2Int8 {
  using Vector = Avx2;
  using Integers = __m256i;
  static constexpr unsigned kTileRows = 6;
  static constexpr unsigned kTileVectors = 2;
  static constexpr std::size_t kWide = 16;
  static const __m128i_u* half(const void* p) { return static_cast<const __m128i_u*>(p); }
  static Integers zero() { return _mm256_setzero_si256(); }
  static Integers load(const char* p, unsigned) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(half(p)));
  }
  static Integers repeat(const char* p, unsigned) {
    int pair = 0;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  static Integers multiply_add(Integers sums, Integers row, Integers w) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(row, w));
  }
  static void store(std::int32_t* p, Integers sums) {
    _mm256_storeu_si256(static_cast<__m256i_u*>(static_cast<void*>(p)), sums);
  }
  static void widen(const std::int8_t* in, std::int16_t* to) {
    _mm256_storeu_si256(static_cast<__m256i_u*>(static_cast<void*>(to)),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(half(in))));
  }
};

}  // namespace

extern const Ops kAvx2Ops;
const Ops kAvx2Ops = make_ops<Avx2>();
extern const LinearKernel kAvx2F32;
const LinearKernel kAvx2F32 = float_kernel<Avx2>("f32/16x1/1");
extern const LinearKernel kAvx2Bf16;
const LinearKernel kAvx2Bf16 =
    dot_kernel<WidenedBf16<Avx2Bf16>>("bf16/16x2/1", LinearFormat::kBF16, false, 48, 35);
extern const LinearKernel kAvx2Int8;
const LinearKernel kAvx2Int8 =
    dot_kernel<WidenedInt8<Avx2Int8>>("int8/16x2/1", LinearFormat::kInt8, false, 48, 60);

}  // namespace nacelle::kernels::cpu
