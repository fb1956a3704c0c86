#include <immintrin.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

constexpr int kYmmChains = 12;  // 16 registers: two more hold the factors

void f32(int64_t blocks, void* sink) {
  __m256 r[kYmmChains];
  for (int i = 0; i < kYmmChains; i++) r[i] = _mm256_set1_ps(0.5f + 0.01f * (float)i);
  const __m256 a = _mm256_loadu_ps((const float*)sink), b = a;
  for (int64_t n = 0; n < blocks; n++)
    for (int i = 0; i < kYmmChains; i++) r[i] = _mm256_fmadd_ps(a, b, r[i]);
  for (int i = 1; i < kYmmChains; i++) r[0] = _mm256_add_ps(r[0], r[i]);
  _mm256_storeu_ps((float*)sink, r[0]);
}

void stream(const uint8_t* begin, int64_t bytes, void* sink) {
  __m256i r[4] = {};
  for (int64_t at = 0; at < bytes; at += kStreamStep)
    for (int line = 0; line < kStreamStep / 64; line++) {
      const uint8_t* p = begin + at + 64 * line;
      _mm_prefetch((const char*)(p + kPrefetch), _MM_HINT_T0);
      for (int half = 0; half < 2; half++) {
        __m256i& sum = r[2 * (line % 2) + half];
        sum = _mm256_xor_si256(sum, _mm256_loadu_si256((const __m256i*)(p + 32 * half)));
      }
    }
  _mm256_storeu_si256((__m256i*)sink, _mm256_xor_si256(_mm256_xor_si256(r[0], r[1]), _mm256_xor_si256(r[2], r[3])));
}

}  // namespace

void add_avx2(Loops& loops) {
  loops.f32 = {f32, 2.0 * 8 * kYmmChains};
  loops.stream = stream;
}

}  // namespace verdant_ceilings
