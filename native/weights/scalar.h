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

}  // namespace verdant
