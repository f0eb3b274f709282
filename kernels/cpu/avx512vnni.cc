// The int8 product of AVX-512 VNNI: vpdpbusd adds four products of bytes to each 32-bit sum,
// exactly (its saturating sister is another instruction).
//
// It wants one side without a sign: the weights, stored + 128. What that adds to a sum, 128 times
// the row's codes, is the same for all columns and taken off at the end, modulo 2^32 like
// everything here.
//
// Tile   8 rows of 3 vectors, as in avx512.cc.
#include "kernels/cpu/loops/dot.h"
#include "kernels/cpu/vectors/avx512.h"

namespace nacelle::kernels::cpu {
namespace {

struct Vnni {
  using Vector = Avx512;
  using Sum = std::int32_t;
  using Sums = __m512i;
  using Weights = __m512i;
  using Row = __m512i;
  static constexpr unsigned kTileRows = 8;
  static constexpr unsigned kTileVectors = 3;
  static constexpr std::size_t kInputs = 4;
  static constexpr unsigned kPhases = 1;
  static constexpr std::size_t kRowBytes = 4;
  static constexpr std::size_t kWeightBytes = 64;
  static constexpr bool kInPlace = true;

  static Sums zero() { return _mm512_setzero_si512(); }
  static Weights load(const char* p, unsigned) { return _mm512_loadu_si512(p); }
  static Row repeat(const char* p, unsigned) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static Sums dot(Sums sums, Row row, Weights w) { return _mm512_dpbusd_epi32(sums, w, row); }
  static void store(Sum* p, Sums sums) { _mm512_storeu_si512(p, sums); }
  static void prepare(const char* in, std::size_t inputs, char* to, std::size_t steps) {
    __builtin_memcpy(to, in, inputs);
    for (std::size_t k = inputs; k < 4 * steps; ++k) to[k] = 0;
  }
  static std::int32_t less(const char* row, std::size_t steps) {
    const __m512i unit = _mm512_set1_epi8(1);
    __m512i sums = _mm512_setzero_si512();
    const std::size_t size = 4 * steps;
    std::size_t k = 0;
    for (; k + 64 <= size; k += 64) {
      sums = _mm512_dpbusd_epi32(sums, unit, _mm512_loadu_si512(row + k));
    }
    const __mmask64 rest = (std::uint64_t{1} << (size - k)) - 1;
    sums = _mm512_dpbusd_epi32(sums, unit, _mm512_maskz_loadu_epi8(rest, row + k));
    return 128 * _mm512_reduce_add_epi32(sums);
  }
};

}  // namespace

extern const LinearKernel kAvx512VnniInt8;
const LinearKernel kAvx512VnniInt8 =
    dot_kernel<Vnni>("int8/48x4+128/1", LinearFormat::kInt8, true, 96, 250);

}  // namespace nacelle::kernels::cpu
