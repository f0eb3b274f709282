// The AVX2 target: with FMA and F16C, as on every x86-64 core since 2013 (Intel) and 2015 (AMD).
//
// Tile   6 rows of 2 vectors: 12 accumulators, 2 weights and a broadcast in 16 registers. A step
//        over k is 12 FMAs (6 cycles on two ports) for 8 loads.
#include <immintrin.h>

#include "kernels/cpu/loops/table.h"

namespace nacelle::kernels::cpu {
namespace {

// 8 floats. Everything here has internal linkage: see target.h.
struct Avx2 {
  using Register = __m256;
  static constexpr unsigned kLanes = 8;
  static constexpr unsigned kTileRows = 6;
  static constexpr unsigned kTileVectors = 2;

  static Register zero() { return _mm256_setzero_ps(); }
  static Register set1(float x) { return _mm256_set1_ps(x); }
  static Register load(const float* p) { return _mm256_loadu_ps(p); }
  static Register load_first(const float* p, std::size_t n) {
    return _mm256_maskload_ps(p, first(n));
  }
  static Register load_f16(const void* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i_u*>(p)));
  }
  static Register load_f16_first(const void* p, std::size_t n) {
    return _mm256_cvtph_ps(halves_first(p, n));
  }
  static Register load_bf16(const void* p) {
    return widen(_mm_loadu_si128(static_cast<const __m128i_u*>(p)));
  }
  static Register load_bf16_first(const void* p, std::size_t n) {
    return widen(halves_first(p, n));
  }
  static void store(float* p, Register x) { _mm256_storeu_ps(p, x); }
  static void store_first(float* p, Register x, std::size_t n) {
    _mm256_maskstore_ps(p, first(n), x);
  }
  static Register first_or(Register x, std::size_t n, Register other) {
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(first(n)));
  }

  static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static Register mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static Register div(Register a, Register b) { return _mm256_div_ps(a, b); }
  static Register fma(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  static Register min(Register a, Register b) { return _mm256_min_ps(a, b); }
  static Register max(Register a, Register b) { return _mm256_max_ps(a, b); }
  static Register round(Register x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2^n by its exponent bits: right for n in [-126, 127]. A NaN in x stays, whatever n became.
  static Register times_power_of_2(Register x, Register n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
  }
  static Register zero_where_less(Register x, Register a, Register b) {
    return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), x);
  }
  static float sum(Register x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  // The sums of a and of b, in one go.
  static void sums(Register a, Register b, float (&to)[2]) {
    const Register pairs = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    to[0] = _mm_cvtss_f32(two);
    to[1] = _mm_cvtss_f32(_mm_movehdup_ps(two));
  }
  static float largest(Register x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  // rows[i][j] becomes rows[j][i]: pairs, then quads, then 128-bit halves change places.
  static void transpose(Register (&rows)[kLanes]) {
    Register pairs[kLanes];
#pragma GCC unroll 16
    for (unsigned i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    Register quads[kLanes];
#pragma GCC unroll 16
    for (unsigned i = 0; i < kLanes; i += 4) {
      quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
      quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
      quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
      quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
  }

 private:
  // All bits set in the first n lanes.
  static __m256i first(std::size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  // n 16-bit numbers and zeros; nothing behind the n is read. AVX2 masks only 32-bit loads.
  static __m128i halves_first(const void* p, std::size_t n) {
    alignas(16) unsigned char bytes[16] = {};
    __builtin_memcpy(bytes, p, 2 * n);
    return _mm_load_si128(static_cast<const __m128i*>(static_cast<const void*>(bytes)));
  }
  static Register widen(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
};

}  // namespace

extern const Target kAvx2;
const Target kAvx2 = make_target<Avx2>("avx2");

}  // namespace nacelle::kernels::cpu
