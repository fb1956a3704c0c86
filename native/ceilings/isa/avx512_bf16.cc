#include <immintrin.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

// Two products of bf16 onto each f32: finite, and not denormal.
void bf16(int64_t blocks, void* sink) {
  __m512 r[kChains];
  for (int i = 0; i < kChains; i++) r[i] = _mm512_set1_ps(0.5f + 0.01f * (float)i);
  const __m512bh a = (__m512bh)_mm512_loadu_si512(sink), b = a;
  for (int64_t n = 0; n < blocks; n++)
    for (int i = 0; i < kChains; i++) r[i] = _mm512_dpbf16_ps(r[i], a, b);
  for (int i = 1; i < kChains; i++) r[0] = _mm512_add_ps(r[0], r[i]);
  _mm512_storeu_ps(sink, r[0]);
}

}  // namespace

void add_avx512_bf16(Loops& loops) { loops.bf16 = {bf16, 2.0 * 32 * kChains}; }

}  // namespace verdant_ceilings
