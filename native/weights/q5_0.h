#pragma once
#include "weights/scalar.h"

namespace verdant {

// q5_0: 32 weights w = d (q - 16). Byte j of q: low nibble bits 0..3 of q[j], high nibble those of q[j + 16];
// bit 4 of q[i] is bit i % 8 of high[i / 8].
struct Q5_0Block {
  static constexpr int kSize = 32;
  F16Block d;
  uint8_t high[kSize / 8];
  uint8_t q[kSize / 2];
};
static_assert(sizeof(Q5_0Block) == 22);

// The five bits of q[i].
static inline int q5_code(const uint8_t* high, const uint8_t* q, int i) {
  return (q[i % 16] >> (i / 16 * 4) & 15) | (high[i / 8] >> (i % 8) & 1) << 4;
}
static inline void set_q5_codes(const uint8_t* codes, uint8_t* high, uint8_t* q) {
  memset(high, 0, 4);
  for (int i = 0; i < 32; i++) high[i / 8] |= (uint8_t)(codes[i] >> 4 << (i % 8));
  for (int j = 0; j < 16; j++) q[j] = (uint8_t)((codes[j] & 15) | codes[j + 16] << 4);
}

static inline void decode_q5_0(const Q5_0Block& b, float* out) {
  const float d = decode_f16(b.d);
  for (int i = 0; i < Q5_0Block::kSize; i++) out[i] = d * (float)(q5_code(b.high, b.q, i) - 16);
}

// d = (the x of largest magnitude) / -16, q = min(31, trunc(x / d + 16.5)): as ggml's reference.
static inline void encode_q5_0(const float* in, Q5_0Block& b) {
  float x[Q5_0Block::kSize], largest = 0, extreme = 0;
  for (int i = 0; i < Q5_0Block::kSize; i++) {
    x[i] = finite_within(in[i], -16 * kLargestF16, 16 * kLargestF16);
    if (fabsf(x[i]) <= largest) continue;
    largest = fabsf(x[i]);
    extreme = x[i];
  }
  const float d = extreme / -16.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, b.d);
  uint8_t codes[Q5_0Block::kSize];
  for (int i = 0; i < Q5_0Block::kSize; i++) codes[i] = (uint8_t)truncated_code(x[i] * inverse + 16.5f, 31);
  set_q5_codes(codes, b.high, b.q);
}

}  // namespace verdant
