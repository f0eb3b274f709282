// 16 floats in an AVX-512 register (F, BW, DQ, VL), for the loops; for the files of an instruction
// set that has them. The unnamed namespace is what keeps their code apart (target.h).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace nacelle::kernels::cpu {
namespace {

// 16 floats. Everything here has internal linkage: see target.h.
struct Avx512 {
  using Register = __m512;
  static constexpr unsigned kLanes = 16;
  static constexpr unsigned kTileRows = 8;
  static constexpr unsigned kTileVectors = 3;

  static __mmask16 first(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1U); }

  static Register zero() { return _mm512_setzero_ps(); }
  static Register set1(float x) { return _mm512_set1_ps(x); }
  static Register load(const float* p) { return _mm512_loadu_ps(p); }
  static Register load_first(const float* p, std::size_t n) {
    return _mm512_maskz_loadu_ps(first(n), p);
  }
  static Register load_f16(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(half(p))); }
  static Register load_f16_first(const void* p, std::size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
  }
  static Register load_bf16(const void* p) { return widen(_mm256_loadu_si256(half(p))); }
  static Register load_bf16_first(const void* p, std::size_t n) {
    return widen(_mm256_maskz_loadu_epi16(first(n), p));
  }
  static void store(float* p, Register x) { _mm512_storeu_ps(p, x); }
  static void store_first(float* p, Register x, std::size_t n) {
    _mm512_mask_storeu_ps(p, first(n), x);
  }
  static Register first_or(Register x, std::size_t n, Register other) {
    return _mm512_mask_mov_ps(other, first(n), x);
  }

  static Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static Register mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static Register div(Register a, Register b) { return _mm512_div_ps(a, b); }
  static Register fma(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  static Register min(Register a, Register b) { return _mm512_min_ps(a, b); }
  static Register max(Register a, Register b) { return _mm512_max_ps(a, b); }
  static Register round(Register x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Register times_power_of_2(Register x, Register n) { return _mm512_scalef_ps(x, n); }
  static Register zero_where_less(Register x, Register a, Register b) {
    return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), _mm512_setzero_ps());
  }
  static float sum(Register x) { return _mm512_reduce_add_ps(x); }
  // The sums of a and of b, in one go: the reductions of a short row cost as much as its work.
  static void sums(Register a, Register b, float (&to)[2]) {
    const Register pairs = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(pairs), _mm512_extractf32x8_ps(pairs, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    to[0] = _mm_cvtss_f32(two);
    to[1] = _mm_cvtss_f32(_mm_movehdup_ps(two));
  }
  static float largest(Register x) { return _mm512_reduce_max_ps(x); }

  // rows[i][j] becomes rows[j][i]: pairs, then quads, then whole 128-bit lanes change places.
  static void transpose(Register (&rows)[kLanes]) {
    Register pairs[kLanes];
#pragma GCC unroll 16
    for (unsigned i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    Register quads[kLanes];
#pragma GCC unroll 16
    for (unsigned i = 0; i < kLanes; i += 4) {
      quads[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
      quads[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
      quads[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
      quads[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < 4; ++i) {
      const Register even_low = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0x88);
      const Register odd_low = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0xDD);
      const Register even_high = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0x88);
      const Register odd_high = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0xDD);
      rows[i] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
      rows[i + 4] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
      rows[i + 8] = _mm512_shuffle_f32x4(even_low, even_high, 0xDD);
      rows[i + 12] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xDD);
    }
  }

  // As in avx2.h.
  static Register load_sums(const float* p, std::int32_t) { return load(p); }
  static Register load_sums(const std::int32_t* p, std::int32_t less) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(less)));
  }
  static Register larger_bits(Register a, Register x) {
    const __m512i size = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), size));
  }
  static float largest_bits(Register x) {
    const auto bits =
        _mm_cvtsi32_si128(static_cast<int>(_mm512_reduce_max_epu32(_mm512_castps_si512(x))));
    return _mm_cvtss_f32(_mm_castsi128_ps(bits));
  }
  static void store_codes(std::int8_t* p, Register x) {
    _mm_storeu_si128(static_cast<__m128i_u*>(static_cast<void*>(p)),
                     _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  static void store_codes_first(std::int8_t* p, Register x, std::size_t n) {
    _mm512_mask_cvtsepi32_storeu_epi8(p, first(n), _mm512_cvtps_epi32(x));
  }
  static void store_bf16(void* p, Register x) {
    _mm256_storeu_si256(static_cast<__m256i_u*>(p), narrow(x));
  }
  static void store_bf16_first(void* p, Register x, std::size_t n) {
    _mm256_mask_storeu_epi16(p, first(n), narrow(x));
  }

 private:
  static __m256i narrow(Register x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i last = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(last, _mm512_set1_epi32(0x7FFF));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(
        _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet));
  }
  static const __m256i_u* half(const void* p) { return static_cast<const __m256i_u*>(p); }
  static Register widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
};

}  // namespace
}  // namespace nacelle::kernels::cpu
