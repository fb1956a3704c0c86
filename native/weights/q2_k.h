#pragma once
#include "weights/fit.h"

namespace verdant {

// q2_k: 256 weights in groups of 16, w = (d s) q - (dmin m). Group i: s the low nibble of scale[i], m the high one.
// Element e = 128 c + 32 j + l (l < 32, j < 4, c < 2): the two bits of q at 2 j of q[32 c + l].
struct Q2_KBlock {
  static constexpr int kSize = 256;
  uint8_t scale[kSize / 16], q[kSize / 4];
  F16Block d, dmin;
};
static_assert(sizeof(Q2_KBlock) == 84);

static inline void decode_q2_k(const Q2_KBlock& b, float* out) {
  const float d = decode_f16(b.d), dmin = decode_f16(b.dmin);
  for (int e = 0; e < Q2_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32;
    const float s = d * (float)(b.scale[e / 16] & 15), m = dmin * (float)(b.scale[e / 16] >> 4);
    out[e] = s * (float)(b.q[32 * c + l] >> (2 * j) & 3) - m;
  }
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 15 * 3, below 0 at 65504 * 15.
static inline void encode_q2_k(const float* in, Q2_KBlock& b) {
  memset(&b, 0, sizeof(b));
  Groups<16> g;
  if (!load_groups(in, kLargestF16 * 15 * 3, g)) return;
  float s[16], m[16], q[16][16];
  AffineFit<16, 3>::fit(g, 2.4f, 0.15f, 14, 2, 15, b.d, b.dmin, s, m, q);
  for (int i = 0; i < 16; i++) b.scale[i] = (uint8_t)((int)s[i] | (int)m[i] << 4);
  for (int e = 0; e < Q2_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32;
    b.q[32 * c + l] |= (uint8_t)((int)q[e % 16][e / 16] << (2 * j));
  }
}

}  // namespace verdant
