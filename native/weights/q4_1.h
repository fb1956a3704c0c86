#pragma once
#include "weights/scalar.h"

namespace verdant {

// q4_1: 32 weights w = d q + m. Byte j: low nibble q[j], high nibble q[j + 16].
struct Q4_1Block {
  static constexpr int kSize = 32;
  F16Block d, m;
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q4_1Block) == 20);

static inline void decode_q4_1(const Q4_1Block& b, float* out) {
  const float d = decode_f16(b.d), m = decode_f16(b.m);
  for (int j = 0; j < Q4_1Block::kSize / 2; j++) {
    out[j] = d * (float)(b.q[j] & 15) + m;
    out[j + 16] = d * (float)(b.q[j] >> 4) + m;
  }
}

static inline void encode_q4_1(const float* in, Q4_1Block& b) {
  uint8_t codes[Q4_1Block::kSize];
  encode_from_min(in, 15, b.d, b.m, codes);
  for (int j = 0; j < Q4_1Block::kSize / 2; j++) b.q[j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
}

}  // namespace verdant
