#pragma once
#include "weights/scalar.h"

namespace verdant {

// q4_0: 32 weights w = d (q - 8). Byte j: low nibble q[j], high nibble q[j + 16].
struct Q4_0Block {
  static constexpr int kSize = 32;
  F16Block d;
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q4_0Block) == 18);

static inline void decode_q4_0(const Q4_0Block& b, float* out) {
  const float d = decode_f16(b.d);
  for (int j = 0; j < Q4_0Block::kSize / 2; j++) {
    out[j] = d * (float)((b.q[j] & 15) - 8);
    out[j + 16] = d * (float)((b.q[j] >> 4) - 8);
  }
}

// d = (the x of largest magnitude) / -8, q = min(15, trunc(x / d + 8.5)): as ggml's reference.
static inline void encode_q4_0(const float* in, Q4_0Block& b) {
  float x[Q4_0Block::kSize], largest = 0, extreme = 0;
  for (int i = 0; i < Q4_0Block::kSize; i++) {
    x[i] = finite_within(in[i], -8 * kLargestF16, 8 * kLargestF16);
    if (fabsf(x[i]) <= largest) continue;
    largest = fabsf(x[i]);
    extreme = x[i];
  }
  const float d = extreme / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, b.d);
  for (int j = 0; j < Q4_0Block::kSize / 2; j++) {
    const int low = truncated_code(x[j] * inverse + 8.5f, 15);
    b.q[j] = (uint8_t)(low | truncated_code(x[j + 16] * inverse + 8.5f, 15) << 4);
  }
}

}  // namespace verdant
