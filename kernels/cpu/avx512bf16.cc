// The bf16 product of AVX-512 BF16: vdpbf16ps adds two products to each float sum. Each product is
// exact; both additions are rounded, to nearest even, and denormal numbers count as 0 on the way in
// and out, whatever the control register says.
//
// Twice the rate of FMAs on AMD (Zen 4 and later) and Cooper Lake, but half of it on Intel since
// Sapphire Rapids: those have AMX, whose target comes first.
#include "kernels/cpu/loops/attention_bf16.h"
#include "kernels/cpu/vectors/avx512.h"

namespace nacelle::kernels::cpu {
namespace {

struct DotBf16 {
  using Vector = Avx512;
  using Sum = float;
  using Sums = __m512;
  using Weights = __m512bh;
  using Row = __m512bh;
  static constexpr unsigned kTileRows = 8;
  static constexpr unsigned kTileVectors = 3;
  static constexpr std::size_t kInputs = 2;
  static constexpr unsigned kPhases = 1;
  static constexpr std::size_t kRowBytes = 4;
  static constexpr std::size_t kWeightBytes = 64;
  static constexpr bool kInPlace = true;

  static Sums zero() { return _mm512_setzero_ps(); }
  static __m512bh bits(__m512i x) { return __builtin_bit_cast(__m512bh, x); }
  static Weights load(const char* p, unsigned) { return bits(_mm512_loadu_si512(p)); }
  static Row repeat(const char* p, unsigned) {
    int pair = 0;
    __builtin_memcpy(&pair, p, sizeof pair);
    return bits(_mm512_set1_epi32(pair));
  }
  static Sums dot(Sums sums, Row row, Weights w) { return _mm512_dpbf16_ps(sums, row, w); }
  static void store(Sum* p, Sums sums) { _mm512_storeu_ps(p, sums); }
  static void prepare(const char* in, std::size_t inputs, char* to, std::size_t steps) {
    __builtin_memcpy(to, in, 2 * inputs);
    for (std::size_t k = 2 * inputs; k < 4 * steps; ++k) to[k] = 0;
  }
  static std::int32_t less(const char*, std::size_t) { return 0; }
  static void store_rounded(char* to, __m512 x) {
    _mm256_storeu_si256(static_cast<__m256i_u*>(static_cast<void*>(to)),
                        __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(x)));
  }
  // 16 pairs of low[i], high[i]; the first n of each are read.
  static void store_pairs(char* to, const std::uint16_t* low, const std::uint16_t* high,
                          std::size_t low_n, std::size_t high_n) {
    const auto load = [](const std::uint16_t* p, std::size_t n) {
      return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(Avx512::first(n), p));
    };
    _mm512_storeu_si512(
        to, _mm512_or_si512(load(low, low_n), _mm512_slli_epi32(load(high, high_n), 16)));
  }
};

}  // namespace

extern const LinearKernel kAvx512DotBf16;
const LinearKernel kAvx512DotBf16 =
    dot_kernel<DotBf16>("bf16/48x2/1", LinearFormat::kBF16, false, 64, 140);

extern const AttentionKernel kAvx512DotAttention;
const AttentionKernel kAvx512DotAttention{.run = attention_dot<DotBf16>};

}  // namespace nacelle::kernels::cpu
