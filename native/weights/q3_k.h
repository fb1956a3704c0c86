#pragma once
#include "weights/fit.h"

namespace verdant {

// q3_k: 256 weights in groups of 16, w = (d (s - 32)) (q - 4). Element e = 128 c + 32 j + l (l < 32, j < 4, c < 2):
// bits 0..1 of q at 2 j of low[32 c + l], bit 2 at 4 c + j of high[l]. Scale s of group i, six bits: bits 0..3 in
// nibble i / 8 of scale[i % 8], bits 4..5 at 2 (i / 4) of scale[8 + i % 4].
struct Q3_KBlock {
  static constexpr int kSize = 256;
  uint8_t high[kSize / 8], low[kSize / 4], scale[12];
  F16Block d;
};
static_assert(sizeof(Q3_KBlock) == 110);

static inline int q3_k_scale(const Q3_KBlock& b, int i) {
  return ((b.scale[i % 8] >> (i / 8 * 4) & 15) | (b.scale[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32;
}

static inline void decode_q3_k(const Q3_KBlock& b, float* out) {
  const float d = decode_f16(b.d);
  for (int e = 0; e < Q3_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32;
    const int q = (b.low[32 * c + l] >> (2 * j) & 3) | (b.high[l] >> (4 * c + j) & 1) << 2;
    out[e] = d * (float)q3_k_scale(b, e / 16) * (float)(q - 4);
  }
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 4 * 31.
static inline void encode_q3_k(const float* in, Q3_KBlock& b) {
  static constexpr float kTargets[] = {-5.2f, -4.9f, -4.6f, -4.3f, -4.0f, -3.7f, -3.4f, -3.1f, -2.8f,
                                       -2.5f, 2.2f,  2.5f,  2.8f,  3.1f,  3.4f,  3.7f,  4.0f};
  memset(&b, 0, sizeof(b));
  Groups<16> g;
  if (!load_groups(in, kLargestF16 * 4 * 31, g)) return;
  float n[16], q[16][16];
  SignedFit<16, -4, 3>::fit(g, kTargets, sizeof(kTargets) / sizeof(float), -32, 31, b.d, n, q);
  for (int i = 0; i < 16; i++) {
    const int s = (int)n[i] + 32;
    b.scale[i % 8] |= (uint8_t)((s & 15) << (i / 8 * 4));
    b.scale[8 + i % 4] |= (uint8_t)(s >> 4 << (i / 4 * 2));
  }
  for (int e = 0; e < Q3_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32, code = (int)q[e % 16][e / 16] + 4;
    b.low[32 * c + l] |= (uint8_t)((code & 3) << (2 * j));
    b.high[l] |= (uint8_t)(code >> 2 << (4 * c + j));
  }
}

}  // namespace verdant
