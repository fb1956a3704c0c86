// Vec on AVX-512: 16 floats in one register. The functions are those of vec_generic.h, which documents them.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace verdant::avx512 {

struct Vec {
  __m512 v;
};
struct Mask {
  __mmask16 m;
};

constexpr int kTileVecs = 24;  // accumulators that a tile may hold

static inline Vec zero() { return {_mm512_setzero_ps()}; }
static inline Vec set1(float x) { return {_mm512_set1_ps(x)}; }
static inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
static inline Mask first(int64_t n) { return {(__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1)}; }
static inline Vec load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n).m, p)}; }
static inline void store_n(float* p, Vec a, int64_t n) { _mm512_mask_storeu_ps(p, first(n).m, a.v); }

static inline Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
static inline Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
static inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
static inline Vec copysign(Vec magnitude, Vec sign) {
  const __m512i s = _mm512_set1_epi32((int)0x80000000);
  return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_and_si512(s, _mm512_castps_si512(sign.v)),
                                              _mm512_andnot_si512(s, _mm512_castps_si512(magnitude.v))))};
}
static inline Vec mul_pow2(Vec a, Vec n) {
  const __m512i e = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), e))};
}

static inline Mask lt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
static inline Mask ge(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
static inline Mask is_nan(Vec a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
static inline Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
static inline bool any(Mask m) { return m.m != 0; }

static inline float reduce_add(Vec a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
static inline float reduce_max(Vec a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

static inline Vec load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
static inline Vec pair_even(const uint8_t* line) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(line), 16))};
}
static inline Vec pair_odd(const uint8_t* line) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(line), _mm512_set1_epi32((int)0xffff0000)))};
}
template <int kByte>
static inline Vec signed_byte(const uint8_t* line) {
  const __m512i up = _mm512_slli_epi32(_mm512_loadu_si512(line), 24 - 8 * kByte);
  return {_mm512_cvtepi32_ps(_mm512_srai_epi32(up, 24))};
}
template <int kNibble>
static inline Vec nibble(const uint8_t* line) {
  const __m512i x = _mm512_srli_epi32(_mm512_loadu_si512(line), 4 * kNibble);
  return {_mm512_cvtepi32_ps(_mm512_and_si512(x, _mm512_set1_epi32(15)))};
}

}  // namespace verdant::avx512
