// The tables of AVX-512: F, BW, DQ and VL, as on every server core since 2017.
//
// Tile   8 rows of 3 vectors: 24 accumulators, 3 weights and a broadcast in 32 registers. A step
//        over k is 24 FMAs (12 cycles on two ports) for 11 loads, so the loads never limit it.
#include "kernels/cpu/vectors/avx512.h"

#include "kernels/cpu/loops/table.h"

namespace nacelle::kernels::cpu {
namespace {

struct Avx512Bf16 {
  using Vector = Avx512;
  static constexpr unsigned kTileRows = 8;
  static constexpr unsigned kTileVectors = 3;
  static __m512 even(const char* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
  }
  static __m512 odd(const char* p) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-0x10000)));
  }
};

struct Avx512Int8 {
  using Vector = Avx512;
  using Integers = __m512i;
  static constexpr unsigned kTileRows = 8;
  static constexpr unsigned kTileVectors = 3;
  static constexpr std::size_t kWide = 32;
  static const __m256i_u* half(const void* p) { return static_cast<const __m256i_u*>(p); }
  static Integers zero() { return _mm512_setzero_si512(); }
  static Integers load(const char* p, unsigned) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(half(p)));
  }
  static Integers repeat(const char* p, unsigned) {
    int pair = 0;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  static Integers multiply_add(Integers sums, Integers row, Integers w) {
    return _mm512_add_epi32(sums, _mm512_madd_epi16(row, w));
  }
  static void store(std::int32_t* p, Integers sums) { _mm512_storeu_si512(p, sums); }
  static void widen(const std::int8_t* in, std::int16_t* to) {
    _mm512_storeu_si512(to, _mm512_cvtepi8_epi16(_mm256_loadu_si256(half(in))));
  }
};

}  // namespace

extern const Ops kAvx512Ops;
const Ops kAvx512Ops = make_ops<Avx512>();
extern const LinearKernel kAvx512F32;
const LinearKernel kAvx512F32 = float_kernel<Avx512>("f32/48x1/1");
extern const LinearKernel kAvx512WidenedBf16;
const LinearKernel kAvx512WidenedBf16 =
    dot_kernel<WidenedBf16<Avx512Bf16>>("bf16/48x2/1", LinearFormat::kBF16, false, 48, 70);
extern const LinearKernel kAvx512WidenedInt8;
const LinearKernel kAvx512WidenedInt8 =
    dot_kernel<WidenedInt8<Avx512Int8>>("int8/48x2/1", LinearFormat::kInt8, false, 48, 120);

}  // namespace nacelle::kernels::cpu
