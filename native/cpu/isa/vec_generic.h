// Vec: 16 floats, the only vector type that kernels know. Every tier has these functions with these meanings; sums of
// lanes use one tree on all tiers. This one is plain C++: any platform, and the reading copy.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace verdant::generic {

struct Vec {
  float v[16];
};
struct Mask {
  bool m[16];
};

// Accumulators (Vecs) that a register tile may hold on this tier.
constexpr int kTileVecs = 4;

template <class F>
static inline Vec each(F f) {
  Vec r;
  for (int i = 0; i < 16; i++) r.v[i] = f(i);
  return r;
}
template <class F>
static inline Mask each_mask(F f) {
  Mask r;
  for (int i = 0; i < 16; i++) r.m[i] = f(i);
  return r;
}

static inline Vec set1(float x) {
  return each([&](int) { return x; });
}
static inline Vec zero() { return set1(0.0f); }
static inline Vec load(const float* p) {
  return each([&](int i) { return p[i]; });
}
static inline void store(float* p, Vec a) { memcpy(p, a.v, sizeof a.v); }
// Lanes 0 .. n - 1; n may be negative or above 16.
static inline Mask first(int64_t n) {
  return each_mask([&](int i) { return i < n; });
}
// Touches only the first n floats; the other lanes are zero.
static inline Vec load_n(const float* p, int64_t n) {
  return each([&](int i) { return i < n ? p[i] : 0.0f; });
}
static inline void store_n(float* p, Vec a, int64_t n) {
  for (int i = 0; i < 16 && i < n; i++) p[i] = a.v[i];
}

static inline Vec add(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
static inline Vec sub(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
static inline Vec mul(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
static inline Vec div(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
// a * b + c; one rounding on the x86 tiers, two here.
static inline Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
// As the x86 instructions: the second operand where either is NaN.
static inline Vec max(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
static inline Vec min(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
static inline Vec sqrt(Vec a) {
  return each([&](int i) { return sqrtf(a.v[i]); });
}
// Nearest integer, ties to even.
static inline Vec round(Vec a) {
  return each([&](int i) { return nearbyintf(a.v[i]); });
}
static inline Vec abs(Vec a) {
  return each([&](int i) { return fabsf(a.v[i]); });
}
static inline Vec copysign(Vec magnitude, Vec sign) {
  return each([&](int i) { return copysignf(magnitude.v[i], sign.v[i]); });
}
// a * 2^n by adding n to the exponent: for normal a and results only.
static inline Vec mul_pow2(Vec a, Vec n) {
  return each([&](int i) {
    uint32_t bits;
    memcpy(&bits, &a.v[i], 4);
    bits += (uint32_t)(int32_t)n.v[i] << 23;
    float r;
    memcpy(&r, &bits, 4);
    return r;
  });
}

static inline Mask lt(Vec a, Vec b) {
  return each_mask([&](int i) { return a.v[i] < b.v[i]; });
}
static inline Mask ge(Vec a, Vec b) {
  return each_mask([&](int i) { return a.v[i] >= b.v[i]; });
}
static inline Mask is_nan(Vec a) {
  return each_mask([&](int i) { return a.v[i] != a.v[i]; });
}
static inline Vec select(Mask m, Vec yes, Vec no) {
  return each([&](int i) { return m.m[i] ? yes.v[i] : no.v[i]; });
}
static inline bool any(Mask m) {
  bool r = false;
  for (int i = 0; i < 16; i++) r |= m.m[i];
  return r;
}

// Lanes i and i + 8, then i + 4, i + 2, i + 1.
static inline float reduce_add(Vec a) {
  for (int half = 8; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
  return a.v[0];
}
static inline float reduce_max(Vec a) {
  for (int half = 8; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
  return a.v[0];
}

static inline float f16_value(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  uint32_t bits;
  float r;
  if (exponent == 0) {  // zero and subnormal: mantissa * 2^-24
    r = (float)mantissa * 5.9604644775390625e-8f;
    memcpy(&bits, &r, 4);
    bits |= sign;
  } else {
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13;
  }
  memcpy(&r, &bits, 4);
  return r;
}
// 16 halves.
static inline Vec load_f16(const uint16_t* p) {
  return each([&](int i) { return f16_value(p[i]); });
}

// A line is 64 bytes: 4 for each of 16 lanes, little-endian.
static inline uint32_t line_word(const uint8_t* line, int lane) {
  const uint8_t* p = line + 4 * lane;
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline float from_bits(uint32_t bits) {
  float r;
  memcpy(&r, &bits, 4);
  return r;
}
// The first and the second bf16 of each lane.
static inline Vec pair_even(const uint8_t* line) {
  return each([&](int i) { return from_bits(line_word(line, i) << 16); });
}
static inline Vec pair_odd(const uint8_t* line) {
  return each([&](int i) { return from_bits(line_word(line, i) & 0xffff0000u); });
}
// Byte kByte (0 to 3) of each lane as a signed integer; nibble kNibble (0 to 7, lowest first) as an unsigned one.
template <int kByte>
static inline Vec signed_byte(const uint8_t* line) {
  return each([&](int i) { return (float)(int8_t)(line[4 * i + kByte]); });
}
template <int kNibble>
static inline Vec nibble(const uint8_t* line) {
  return each([&](int i) { return (float)((line_word(line, i) >> (4 * kNibble)) & 15); });
}

}  // namespace verdant::generic
