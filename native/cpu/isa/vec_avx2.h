// Vec on AVX2: 16 floats in two registers. The functions are those of vec_generic.h, which documents them.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace verdant::avx2 {

struct Vec {
  __m256 a, b;
};
struct Mask {
  __m256 a, b;
};

constexpr int kTileVecs = 6;
constexpr bool kInt8Kernels = true;
constexpr bool kInt8Direct = true;

static inline Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline Vec set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
static inline __m256i first8(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int limit = n < 0 ? 0 : n > 8 ? 8 : (int)n;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(limit), lane);
}
static inline Mask first(int64_t n) { return {_mm256_castsi256_ps(first8(n)), _mm256_castsi256_ps(first8(n - 8))}; }
static inline Vec load_n(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, first8(n)), _mm256_maskload_ps(p + 8, first8(n - 8))};
}
static inline void store_n(float* p, Vec x, int64_t n) {
  _mm256_maskstore_ps(p, first8(n), x.a);
  _mm256_maskstore_ps(p + 8, first8(n - 8), x.b);
}

static inline void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }

static inline Vec add(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline Vec sub(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline Vec mul(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline Vec div(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline Vec fma(Vec x, Vec y, Vec z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
static inline Vec max(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static inline Vec min(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
static inline Vec sqrt(Vec x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
static inline Vec round(Vec x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline Vec abs(Vec x) {
  const __m256 s = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(s, x.a), _mm256_andnot_ps(s, x.b)};
}
static inline Vec copysign(Vec magnitude, Vec sign) {
  const __m256 s = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_and_ps(s, sign.a), _mm256_andnot_ps(s, magnitude.a)),
          _mm256_or_ps(_mm256_and_ps(s, sign.b), _mm256_andnot_ps(s, magnitude.b))};
}
static inline __m256 mul_pow2_8(__m256 x, __m256 n) {
  const __m256i e = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), e));
}
static inline Vec mul_pow2(Vec x, Vec n) { return {mul_pow2_8(x.a, n.a), mul_pow2_8(x.b, n.b)}; }

static inline Mask lt(Vec x, Vec y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
static inline Mask ge(Vec x, Vec y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ)};
}
static inline Mask is_nan(Vec x) {
  return {_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q)};
}
static inline Vec select(Mask m, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
static inline bool any(Mask m) { return (_mm256_movemask_ps(m.a) | _mm256_movemask_ps(m.b)) != 0; }

static inline float reduce_add(Vec x) {
  const __m256 b = _mm256_add_ps(x.a, x.b);
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
static inline float reduce_max(Vec x) {
  const __m256 b = _mm256_max_ps(x.a, x.b);
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

static inline Vec load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
static inline __m256i line_low(const uint8_t* line) { return _mm256_loadu_si256((const __m256i*)line); }
static inline __m256i line_high(const uint8_t* line) { return _mm256_loadu_si256((const __m256i*)(line + 32)); }
static inline Vec pair_even(const uint8_t* line) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(line_low(line), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(line_high(line), 16))};
}
static inline Vec pair_odd(const uint8_t* line) {
  const __m256i m = _mm256_set1_epi32((int)0xffff0000);
  return {_mm256_castsi256_ps(_mm256_and_si256(line_low(line), m)),
          _mm256_castsi256_ps(_mm256_and_si256(line_high(line), m))};
}

struct IVec {
  __m256i a, b;
};
static inline IVec load_line(const uint8_t* line) { return {line_low(line), line_high(line)}; }
static inline void store_line(uint8_t* line, IVec x) {
  _mm256_storeu_si256((__m256i*)line, x.a);
  _mm256_storeu_si256((__m256i*)(line + 32), x.b);
}
static inline IVec set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline IVec zero_int() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline IVec set4(const int8_t* p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return set1_int(word);
}
template <int kLeft, int kMask>
static inline __m256i bits_8(__m256i x) {
  const __m256i moved = kLeft > 0   ? _mm256_slli_epi32(x, kLeft < 0 ? 0 : kLeft)
                        : kLeft < 0 ? _mm256_srli_epi32(x, kLeft < 0 ? -kLeft : 0)
                                    : x;
  return _mm256_and_si256(moved, _mm256_set1_epi8((char)kMask));
}
template <int kLeft, int kMask>
static inline IVec bits(IVec x) {
  return {bits_8<kLeft, kMask>(x.a), bits_8<kLeft, kMask>(x.b)};
}
static inline IVec or_int(IVec x, IVec y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
static inline IVec lookup(IVec x, const uint8_t* table) {
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
  return {_mm256_shuffle_epi8(t, x.a), _mm256_shuffle_epi8(t, x.b)};
}
static inline __m256i dot_8(__m256i sum, __m256i u, __m256i s) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}
static inline IVec dot(IVec sum, IVec u, IVec s) { return {dot_8(sum.a, u.a, s.a), dot_8(sum.b, u.b, s.b)}; }
static inline IVec start_wide(int32_t) { return zero_int(); }
static inline __m256i dot_wide_8(__m256i sum, __m256i u, __m256i s) {
  const __m256i w = _mm256_xor_si256(u, _mm256_set1_epi8((char)0x80));
  return dot_8(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(s, w));
}
static inline IVec dot_wide(IVec sum, IVec u, IVec s) {
  return {dot_wide_8(sum.a, u.a, s.a), dot_wide_8(sum.b, u.b, s.b)};
}
static inline Vec to_float(IVec x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
template <int kByte>
static inline Vec byte_float(IVec x) {
  const __m256i m = _mm256_set1_epi32(255);
  return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(x.a, 8 * kByte), m)),
          _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(x.b, 8 * kByte), m))};
}
static inline __m128i load_16(const uint8_t* p) { return _mm_loadu_si128((const __m128i*)p); }
static inline Vec widen_u8(__m128i x) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)))};
}
static inline Vec load_u8(const uint8_t* p) { return widen_u8(load_16(p)); }
static inline Vec load_s8(const uint8_t* p) {
  const __m128i x = load_16(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))};
}
static inline Vec load_u4_low(const uint8_t* p) { return widen_u8(_mm_and_si128(load_16(p), _mm_set1_epi8(15))); }
static inline Vec load_u4_high(const uint8_t* p) {
  return widen_u8(_mm_and_si128(_mm_srli_epi32(load_16(p), 4), _mm_set1_epi8(15)));
}
static inline void store_s8(int8_t* p, Vec x) {
  const __m256i low = _mm256_cvtps_epi32(x.a), high = _mm256_cvtps_epi32(x.b);
  const __m128i low16 = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  const __m128i high16 = _mm_packs_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(low16, high16));
}

}  // namespace verdant::avx2
