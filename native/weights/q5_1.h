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

// m = min x, d = (max x - m) / 31, q = trunc((x - m) / d + 0.5) with m and d not rounded: as ggml's reference.
static inline void encode_q5_1(const float* in, Q5_1Block& b) {
  float x[Q5_1Block::kSize];
  for (int i = 0; i < Q5_1Block::kSize; i++) x[i] = finite_within(in[i], -kLargestF16, 31 * kLargestF16);
  float m = x[0], most = x[0];
  for (int i = 1; i < Q5_1Block::kSize; i++) {
    m = x[i] < m ? x[i] : m;
    most = x[i] > most ? x[i] : most;
  }
  const float d = (most - m) / 31.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, b.d);
  encode_scale(m, b.m);
  uint8_t codes[Q5_1Block::kSize];
  for (int i = 0; i < Q5_1Block::kSize; i++) codes[i] = (uint8_t)truncated_code((x[i] - m) * inverse + 0.5f, 31);
  set_q5_codes(codes, b.high, b.q);
}

}  // namespace verdant
