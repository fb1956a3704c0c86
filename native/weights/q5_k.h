#pragma once
#include "weights/q4_k.h"

namespace verdant {

// q5_k: as q4_k with five bits; bit 4 of q of element 32 i + l is bit i of high[l].
struct Q5_KBlock {
  static constexpr int kSize = 256;
  F16Block d, dmin;
  uint8_t scale[12];
  uint8_t high[kSize / 8];
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q5_KBlock) == 176);

static inline void decode_q5_k(const Q5_KBlock& b, float* out) {
  const float d = decode_f16(b.d), dmin = decode_f16(b.dmin);
  for (int i = 0; i < 8; i++) {
    const ScaleMin v = k_scale_min(b.scale, i);
    const float s = d * (float)v.s, m = dmin * (float)v.m;
    for (int l = 0; l < 32; l++) {
      const int q = (b.q[i / 2 * 32 + l] >> (i % 2 * 4) & 15) | (b.high[l] >> i & 1) << 4;
      out[32 * i + l] = s * (float)q - m;
    }
  }
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 63 * 31, below 0 at 65504 * 63.
static inline void encode_q5_k(const float* in, Q5_KBlock& b) {
  memset(&b, 0, sizeof(b));
  Groups<8> g;
  if (!load_groups(in, kLargestF16 * 63 * 31, g)) return;
  float s[8], m[8], q[32][8];
  AffineFit<8, 31>::fit(g, 29.2f, 0.3f, 12, 1, 63, b.d, b.dmin, s, m, q);
  for (int i = 0; i < 8; i++) set_k_scale_min(b.scale, i, {(int)s[i], (int)m[i]});
  for (int e = 0; e < Q5_KBlock::kSize; e++) {
    const int code = (int)q[e % 32][e / 32];
    b.q[e / 64 * 32 + e % 32] |= (uint8_t)((code & 15) << (e / 32 % 2 * 4));
    b.high[e % 32] |= (uint8_t)(code >> 4 << (e / 32));
  }
}

}  // namespace verdant
