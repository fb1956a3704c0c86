#include <immintrin.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

// Four products of unsigned and signed bytes onto each int32; it wraps around, which costs nothing.
void int8(int64_t blocks, void* sink) {
  __m512i r[kChains];
  for (int i = 0; i < kChains; i++) r[i] = _mm512_set1_epi32(i);
  const __m512i a = _mm512_loadu_si512(sink), b = a;
  for (int64_t n = 0; n < blocks; n++)
    for (int i = 0; i < kChains; i++) r[i] = _mm512_dpbusd_epi32(r[i], a, b);
  for (int i = 1; i < kChains; i++) r[0] = _mm512_xor_si512(r[0], r[i]);
  _mm512_storeu_si512(sink, r[0]);
}

}  // namespace

void add_avx512_vnni(Loops& loops) { loops.int8 = {int8, 2.0 * 64 * kChains}; }

}  // namespace verdant_ceilings
