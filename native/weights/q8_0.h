#pragma once
#include "weights/scalar.h"

namespace verdant {

// q8_0: 32 weights w = d q, q signed bytes.
struct Q8_0Block {
  static constexpr int kSize = 32;
  F16Block d;
  int8_t q[kSize];
};
static_assert(sizeof(Q8_0Block) == 34);

static inline void decode_q8_0(const Q8_0Block& b, float* out) {
  const float d = decode_f16(b.d);
  for (int i = 0; i < Q8_0Block::kSize; i++) out[i] = d * (float)b.q[i];
}

// Nearest integer, halves away from zero, as roundf; |x| < 2^30.
static inline int round_away(float x) {
  const int whole = (int)x;
  const float rest = x - (float)whole;  // exact
  return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

// d = max |x| / 127, q to nearest with the unrounded d: as ggml's reference.
static inline void encode_q8_0(const float* in, Q8_0Block& b) {
  float x[Q8_0Block::kSize], largest = 0;
  for (int i = 0; i < Q8_0Block::kSize; i++) x[i] = finite_within(in[i], -127 * kLargestF16, 127 * kLargestF16);
  for (int i = 0; i < Q8_0Block::kSize; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
  const float d = largest / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, b.d);
  for (int i = 0; i < Q8_0Block::kSize; i++)
    b.q[i] = (int8_t)round_away(finite_within(x[i] * inverse, -127.0f, 127.0f));
}

}  // namespace verdant
