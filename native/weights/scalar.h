// What every encoder does with any bits: NaN is 0, and values beyond the range of a type's scale end there.
#pragma once
#include "weights/f16.h"

namespace verdant {

constexpr float kLargestF16 = 65504.0f;

// What an encoder sees of any input: NaN is 0, beyond the range (infinities too) is its end.
static inline float finite_within(float x, float low, float high) {
  return x > low ? (x < high ? x : high) : (x <= low ? low : 0.0f);
}

// A scale as f16, never infinite.
static inline void encode_scale(float x, F16Block& b) { encode_f16(finite_within(x, -kLargestF16, kLargestF16), b); }

// x without its fraction, as a code from 0 to high; NaN is 0.
static inline int truncated_code(float x, int high) { return x > 0 ? (x < (float)high ? (int)x : high) : 0; }

// 32 weights as m + d code, codes 0 to high: m = min x, d = (max x - m) / high, code = trunc((x - m) / d + 0.5) with m
// and d not rounded: ggml's reference for q4_1 and q5_1.
static inline void encode_from_min(const float* in, int high, F16Block& scale, F16Block& least, uint8_t* codes) {
  float x[32];
  for (int i = 0; i < 32; i++) x[i] = finite_within(in[i], -kLargestF16, (float)high * kLargestF16);
  float m = x[0], most = x[0];
  for (int i = 1; i < 32; i++) {
    m = x[i] < m ? x[i] : m;
    most = x[i] > most ? x[i] : most;
  }
  const float d = (most - m) / (float)high, inverse = d != 0 ? 1.0f / d : 0.0f;
  encode_scale(d, scale);
  encode_scale(m, least);
  for (int i = 0; i < 32; i++) codes[i] = (uint8_t)truncated_code((x[i] - m) * inverse + 0.5f, high);
}

}  // namespace verdant
