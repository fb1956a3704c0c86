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
// Whether this tier has int8 kernels of its own; else those of the tier below stay.
constexpr bool kInt8Kernels = true;
// Whether they multiply panels as these lie where rows are few; else panels are always decoded first (less code).
constexpr bool kInt8Direct = false;

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

// A hint that the line at p, which need not exist, is read soon.
static inline void prefetch(const void*) {}

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

// IVec: 16 lanes of 32 bits, or of 4 bytes each.
struct IVec {
  uint32_t v[16];
};
template <class F>
static inline IVec each_int(F f) {
  IVec r;
  for (int i = 0; i < 16; i++) r.v[i] = (uint32_t)f(i);
  return r;
}
static inline uint32_t byte_of(uint32_t x, int j) { return x >> (8 * j) & 255; }

static inline IVec load_line(const uint8_t* line) {
  return each_int([&](int i) { return line_word(line, i); });
}
static inline void store_line(uint8_t* line, IVec a) {
  for (int i = 0; i < 64; i++) line[i] = (uint8_t)byte_of(a.v[i / 4], i % 4);
}
static inline IVec set1_int(int32_t x) {
  return each_int([&](int) { return x; });
}
static inline IVec zero_int() { return set1_int(0); }
// The same 4 bytes in every lane.
static inline IVec set4(const int8_t* p) {
  return set1_int((int32_t)((uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)p[2] << 16 |
                            (uint32_t)(uint8_t)p[3] << 24));
}
// Every byte moved left (kLeft > 0) or right, then masked with kMask.
template <int kLeft, int kMask>
static inline IVec bits(IVec a) {
  return each_int([&](int i) {
    const uint32_t moved = kLeft >= 0 ? a.v[i] << (kLeft & 31) : a.v[i] >> (-kLeft & 31);
    return moved & (uint32_t)kMask * 0x01010101u;
  });
}
static inline IVec or_int(IVec a, IVec b) {
  return each_int([&](int i) { return a.v[i] | b.v[i]; });
}
// Byte x of a table of 16 for each byte x < 16.
static inline IVec lookup(IVec a, const uint8_t* table) {
  return each_int([&](int i) {
    uint32_t r = 0;
    for (int j = 0; j < 4; j++) r |= (uint32_t)table[byte_of(a.v[i], j) & 15] << (8 * j);
    return r;
  });
}
// sum + the 4 products of unsigned bytes u <= 127 and signed bytes s >= -127 of each lane, exactly.
static inline IVec dot(IVec sum, IVec u, IVec s) {
  return each_int([&](int i) {
    int32_t r = (int32_t)sum.v[i];
    for (int j = 0; j < 4; j++) r += (int32_t)byte_of(u.v[i], j) * (int8_t)byte_of(s.v[i], j);
    return r;
  });
}
// The same for all u: a chain begins with start_wide(-128 times the sum of its s) and gives the sum of (u - 128) s.
// (A tier that multiplies u - 128 begins with zero.)
static inline IVec start_wide(int32_t sum) { return set1_int(sum); }
static inline IVec dot_wide(IVec sum, IVec u, IVec s) { return dot(sum, u, s); }
static inline Vec to_float(IVec a) {
  return each([&](int i) { return (float)(int32_t)a.v[i]; });
}
// Byte kByte (0 to 3) of each lane, unsigned.
template <int kByte>
static inline Vec byte_float(IVec a) {
  return each([&](int i) { return (float)byte_of(a.v[i], kByte); });
}
// 16 unsigned or signed bytes; the low or the high nibbles of 16 bytes.
static inline Vec load_u8(const uint8_t* p) {
  return each([&](int i) { return (float)p[i]; });
}
static inline Vec load_s8(const uint8_t* p) {
  return each([&](int i) { return (float)(int8_t)p[i]; });
}
static inline Vec load_u4_low(const uint8_t* p) {
  return each([&](int i) { return (float)(p[i] & 15); });
}
static inline Vec load_u4_high(const uint8_t* p) {
  return each([&](int i) { return (float)(p[i] >> 4); });
}
// 16 integers of at most 127 in magnitude as bytes; a NaN gives any byte.
static inline void store_s8(int8_t* p, Vec a) {
  for (int i = 0; i < 16; i++) p[i] = (int8_t)(a.v[i] >= -127.0f && a.v[i] <= 127.0f ? (int)a.v[i] : 0);
}

}  // namespace verdant::generic
