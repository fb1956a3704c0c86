#pragma once
#include "weights/fit.h"

namespace verdant {

// q6_k: 256 weights in groups of 16, w = (d scale[group]) (q - 32), scale a signed byte. Element e = 128 c + 32 j + l
// (l < 32, j < 4, c < 2): bits 0..3 of q in nibble j / 2 of low[64 c + 32 (j % 2) + l], bits 4..5 at 2 j of
// high[32 c + l].
struct Q6_KBlock {
  static constexpr int kSize = 256;
  uint8_t low[kSize / 2], high[kSize / 4];
  int8_t scale[kSize / 16];
  F16Block d;
};
static_assert(sizeof(Q6_KBlock) == 210);

static inline void decode_q6_k(const Q6_KBlock& b, float* out) {
  const float d = decode_f16(b.d);
  for (int e = 0; e < Q6_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32;
    const int low = b.low[64 * c + 32 * (j % 2) + l] >> (j / 2 * 4) & 15, high = b.high[32 * c + l] >> (2 * j) & 3;
    out[e] = d * (float)b.scale[e / 16] * (float)((low | high << 4) - 32);
  }
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 32 * 127.
static inline void encode_q6_k(const float* in, Q6_KBlock& b) {
  static constexpr float kTargets[] = {-33.2f, -32.8f, -32.4f, -32.0f, -31.6f, -31.2f, -30.8f,
                                       -30.4f, -30.0f, 30.2f,  30.6f,  31.0f,  31.4f};
  memset(&b, 0, sizeof(b));
  Groups<16> g;
  if (!load_groups(in, kLargestF16 * 32 * 127, g)) return;
  float n[16], q[16][16];
  SignedFit<16, -32, 31>::fit(g, kTargets, sizeof(kTargets) / sizeof(float), -128, 127, b.d, n, q);
  for (int i = 0; i < 16; i++) b.scale[i] = (int8_t)n[i];
  for (int e = 0; e < Q6_KBlock::kSize; e++) {
    const int c = e / 128, j = e / 32 % 4, l = e % 32, code = (int)q[e % 16][e / 16] + 32;
    b.low[64 * c + 32 * (j % 2) + l] |= (uint8_t)((code & 15) << (j / 2 * 4));
    b.high[32 * c + l] |= (uint8_t)(code >> 4 << (2 * j));
  }
}

}  // namespace verdant
