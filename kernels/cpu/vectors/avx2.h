// 8 floats in an AVX2 register, with FMA and F16C, for the loops; for the files of an instruction
// set that has them. The unnamed namespace is what keeps their code apart (target.h).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

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

  // The linear layers' sums as floats; from each integer `less` is taken first.
  static Register load_sums(const float* p, std::int32_t) { return load(p); }
  static Register load_sums(const std::int32_t* p, std::int32_t less) {
    const auto sums =
        _mm256_loadu_si256(static_cast<const __m256i_u*>(static_cast<const void*>(p)));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_set1_epi32(less)));
  }
  // The larger of a and |x|, by their bits: an infinity is larger than any number, a NaN larger
  // still.
  static Register larger_bits(Register a, Register x) {
    const __m256i size = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF));
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a), size));
  }
  static float largest_bits(Register x) {
    const __m256i all = _mm256_castps_si256(x);
    const __m128i four =
        _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    const __m128i two = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epu32(two, _mm_shuffle_epi32(two, 0xB1))));
  }
  // To the nearest, ties to even, for |x| below 128.
  static void store_codes(std::int8_t* p, Register x) {
    _mm_storel_epi64(static_cast<__m128i_u*>(static_cast<void*>(p)), codes(x));
  }
  static void store_codes_first(std::int8_t* p, Register x, std::size_t n) {
    alignas(16) std::int8_t bytes[16];
    _mm_store_si128(static_cast<__m128i*>(static_cast<void*>(bytes)), codes(x));
    for (std::size_t i = 0; i < n; ++i) p[i] = bytes[i];
  }
  static void store_bf16(void* p, Register x) {
    _mm_storeu_si128(static_cast<__m128i_u*>(p), narrow(x));
  }
  static void store_bf16_first(void* p, Register x, std::size_t n) {
    alignas(16) unsigned char bytes[16];
    _mm_store_si128(static_cast<__m128i*>(static_cast<void*>(bytes)), narrow(x));
    auto* to = static_cast<unsigned char*>(p);
    for (std::size_t i = 0; i < 2 * n; ++i) to[i] = bytes[i];
  }

 private:
  static __m128i codes(Register x) {
    const __m256i wide = _mm256_cvtps_epi32(x);
    const __m128i half =
        _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    return _mm_packs_epi16(half, half);
  }
  // As bf16_from_float (quantize.h): half of a unit and the last bit are added before the cut; a
  // NaN is made quiet instead.
  static __m128i narrow(Register x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i last = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(last, _mm256_set1_epi32(0x7FFF));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i y = _mm256_blendv_epi8(rounded, quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
  }
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
}  // namespace nacelle::kernels::cpu
