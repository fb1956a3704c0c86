// Sealed as cpu/isa/: C headers and loops.h only.
#include <immintrin.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

// r = a b + r with a b = 2^-40: finite for ever, never denormal.
void f32(int64_t blocks, void* sink) {
  __m512 r[kChains];
  for (int i = 0; i < kChains; i++) r[i] = _mm512_set1_ps(0.5f + 0.01f * (float)i);
  const __m512 a = _mm512_loadu_ps(sink), b = a;
  for (int64_t n = 0; n < blocks; n++)
    for (int i = 0; i < kChains; i++) r[i] = _mm512_fmadd_ps(a, b, r[i]);
  for (int i = 1; i < kChains; i++) r[0] = _mm512_add_ps(r[0], r[i]);
  _mm512_storeu_ps(sink, r[0]);
}

void stream(const uint8_t* begin, int64_t bytes, void* sink) {
  __m512i r[4] = {};
  for (int64_t at = 0; at < bytes; at += kStreamStep)
    for (int line = 0; line < kStreamStep / 64; line++) {
      const uint8_t* p = begin + at + 64 * line;
      _mm_prefetch((const char*)(p + kPrefetch), _MM_HINT_T0);
      r[line % 4] = _mm512_xor_si512(r[line % 4], _mm512_loadu_si512(p));
    }
  _mm512_storeu_si512(sink, _mm512_xor_si512(_mm512_xor_si512(r[0], r[1]), _mm512_xor_si512(r[2], r[3])));
}

}  // namespace

void add_avx512(Loops& loops) {
  loops.f32 = {f32, 2.0 * 16 * kChains};
  loops.stream = stream;
}

}  // namespace verdant_ceilings
