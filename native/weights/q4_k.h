#pragma once
#include "weights/fit.h"

namespace verdant {

// q4_k: 256 weights in groups of 32, w = (d s) q - (dmin m). Element e = 64 c + 32 h + l (l < 32, h < 2): q is
// nibble h of q[32 c + l]. s and m of group i have six bits, `ScaleMin` below.
struct Q4_KBlock {
  static constexpr int kSize = 256;
  F16Block d, dmin;
  uint8_t scale[12];
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q4_KBlock) == 144);

// Group i < 4: s in the low six bits of scale[i], m in those of scale[i + 4]. Group i >= 4: bits 0..3 of s and m are
// the low and high nibble of scale[i + 4]; bits 4..5 of s the top bits of scale[i - 4], of m those of scale[i].
struct ScaleMin {
  int s, m;
};
static inline ScaleMin k_scale_min(const uint8_t* scale, int i) {
  if (i < 4) return {scale[i] & 63, scale[i + 4] & 63};
  return {(scale[i + 4] & 15) | scale[i - 4] >> 6 << 4, scale[i + 4] >> 4 | scale[i] >> 6 << 4};
}
// Into 12 bytes that are zero before.
static inline void set_k_scale_min(uint8_t* scale, int i, ScaleMin v) {
  if (i < 4) {
    scale[i] |= (uint8_t)v.s;
    scale[i + 4] |= (uint8_t)v.m;
  } else {
    scale[i + 4] |= (uint8_t)((v.s & 15) | (v.m & 15) << 4);
    scale[i - 4] |= (uint8_t)(v.s >> 4 << 6);
    scale[i] |= (uint8_t)(v.m >> 4 << 6);
  }
}

static inline void decode_q4_k(const Q4_KBlock& b, float* out) {
  const float d = decode_f16(b.d), dmin = decode_f16(b.dmin);
  for (int i = 0; i < 8; i++) {
    const ScaleMin v = k_scale_min(b.scale, i);
    const float s = d * (float)v.s, m = dmin * (float)v.m;
    for (int l = 0; l < 32; l++) out[32 * i + l] = s * (float)(b.q[i / 2 * 32 + l] >> (i % 2 * 4) & 15) - m;
  }
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 63 * 15, below 0 at 65504 * 63.
static inline void encode_q4_k(const float* in, Q4_KBlock& b) {
  memset(&b, 0, sizeof(b));
  Groups<8> g;
  if (!load_groups(in, kLargestF16 * 63 * 15, g)) return;
  float s[8], m[8], q[32][8];
  AffineFit<8, 15>::fit(g, 13.4f, 0.2f, 14, 1, 63, b.d, b.dmin, s, m, q);
  for (int i = 0; i < 8; i++) set_k_scale_min(b.scale, i, {(int)s[i], (int)m[i]});
  for (int e = 0; e < Q4_KBlock::kSize; e++)
    b.q[e / 64 * 32 + e % 32] |= (uint8_t)((int)q[e % 32][e / 32] << (e / 32 % 2 * 4));
}

}  // namespace verdant
