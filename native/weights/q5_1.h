#pragma once
#include "weights/q5_0.h"

namespace verdant {

// q5_1: 32 weights w = d q + m, the bits of q as in q5_0.
struct Q5_1Block {
  static constexpr int kSize = 32;
  F16Block d, m;
  uint8_t high[kSize / 8];
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q5_1Block) == 24);

static inline void decode_q5_1(const Q5_1Block& b, float* out) {
  const float d = decode_f16(b.d), m = decode_f16(b.m);
  for (int i = 0; i < Q5_1Block::kSize; i++) out[i] = d * (float)q5_code(b.high, b.q, i) + m;
}

static inline void encode_q5_1(const float* in, Q5_1Block& b) {
  uint8_t codes[Q5_1Block::kSize];
  encode_from_min(in, 31, b.d, b.m, codes);
  set_q5_codes(codes, b.high, b.q);
}

}  // namespace verdant
