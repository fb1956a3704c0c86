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

// m = min x, d = (max x - m) / 15, q = trunc((x - m) / d + 0.5) with m and d not rounded: as ggml's reference.
static inline void encode_q4_1(const float* in, Q4_1Block& b) {
  float x[Q4_1Block::kSize];
  for (int i = 0; i < Q4_1Block::kSize; i++) x[i] = finite_within(in[i], -kLargestF16, 15 * kLargestF16);
  float m = x[0], most = x[0];
  for (int i = 1; i < Q4_1Block::kSize; i++) {
    m = x[i] < m ? x[i] : m;
    most = x[i] > most ? x[i] : most;
  }
  const float d = (most - m) / 15.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, b.d);
  encode_scale(m, b.m);
  for (int j = 0; j < Q4_1Block::kSize / 2; j++) {
    const int low = truncated_code((x[j] - m) * inverse + 0.5f, 15);
    b.q[j] = (uint8_t)(low | truncated_code((x[j + 16] - m) * inverse + 0.5f, 15) << 4);
  }
}

}  // namespace verdant
