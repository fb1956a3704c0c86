#pragma once
#include "weights/scalar.h"

namespace verdant {

// iq4_nl: 32 weights w = d level[q]. Byte j: low nibble q[j], high nibble q[j + 16].
struct IQ4_NLBlock {
  static constexpr int kSize = 32;
  F16Block d;
  uint8_t q[kSize / 2];
};
static_assert(sizeof(IQ4_NLBlock) == 18);

// The sixteen values of a weight over its scale, denser around 0.
constexpr int8_t kIQ4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Code of the level nearest to v: midpoints of levels are multiples of a half, so steps of a half tell all apart.
struct IQ4Nearest {
  static constexpr int kLow = -130, kHigh = 120;
  uint8_t code[2 * (kHigh - kLow)];
};
constexpr IQ4Nearest make_iq4_nearest() {
  IQ4Nearest made{};
  for (int i = 0, code = 0; i < 2 * (IQ4Nearest::kHigh - IQ4Nearest::kLow); i++) {
    while (code < 15 && i + 2 * IQ4Nearest::kLow >= kIQ4Levels[code] + kIQ4Levels[code + 1]) code++;
    made.code[i] = (uint8_t)code;
  }
  return made;
}
constexpr IQ4Nearest kIQ4Nearest = make_iq4_nearest();

static inline int iq4_code(float v) {
  const float at = (v - (float)IQ4Nearest::kLow) * 2.0f;
  constexpr int kLast = (int)sizeof(IQ4Nearest) - 1;
  return kIQ4Nearest.code[at > 0 ? (at < (float)kLast ? (int)at : kLast) : 0];
}

static inline void decode_iq4_nl(const IQ4_NLBlock& b, float* out) {
  const float d = decode_f16(b.d);
  for (int j = 0; j < IQ4_NLBlock::kSize / 2; j++) {
    out[j] = d * (float)kIQ4Levels[b.q[j] & 15];
    out[j + 16] = d * (float)kIQ4Levels[b.q[j] >> 4];
  }
}

// Sums of w x v and w v^2 over 32 weights where v is the level nearest to x inverse.
struct IQ4Sums {
  float xv, vv;
};
static inline IQ4Sums iq4_sums(const float* x, const float* w, float inverse) {
  float xv[4] = {}, vv[4] = {};
  for (int i = 0; i < 32; i += 4)
    for (int l = 0; l < 4; l++) {
      const float v = (float)kIQ4Levels[iq4_code(x[i + l] * inverse)], wv = w[i + l] * v;
      xv[l] += wv * x[i + l];
      vv[l] += wv * v;
    }
  return {(xv[0] + xv[1]) + (xv[2] + xv[3]), (vv[0] + vv[1]) + (vv[2] + vv[3])};
}

// The scale s with least sum of w (x - s level)^2 over 32 weights: the x of largest magnitude is mapped to values
// around either end of the levels, then s is fitted to the codes that this gives.
static inline float iq4_scale(const float* x, const float* w) {
  static constexpr float kTargets[] = {-141, -136, -131, -127, -123, -118, -113, -108, 97, 102, 107, 112, 117, 122};
  float extreme = 0, best = 0, gain = 0;
  for (int i = 0; i < 32; i++) extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
  if (extreme == 0) return 0;
  for (const float target : kTargets) {
    const IQ4Sums sums = iq4_sums(x, w, target / extreme);
    if (!(sums.vv > 0 && sums.xv * (sums.xv / sums.vv) > gain)) continue;
    best = sums.xv / sums.vv;
    gain = sums.xv * best;
  }
  if (best == 0) return 0;
  const IQ4Sums sums = iq4_sums(x, w, 1.0f / best);
  return sums.vv > 0 && sums.xv * (sums.xv / sums.vv) > gain ? sums.xv / sums.vv : best;
}

// Codes of 32 weights for the scale s into 16 bytes.
static inline void set_iq4_codes(const float* x, float s, uint8_t* q) {
  const float inverse = s != 0 ? 1.0f / s : 0.0f;
  for (int j = 0; j < 16; j++) q[j] = (uint8_t)(iq4_code(x[j] * inverse) | iq4_code(x[j + 16] * inverse) << 4);
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 113.
static inline void encode_iq4_nl(const float* in, IQ4_NLBlock& b) {
  float x[32], w[32], squares = 0;
  for (int i = 0; i < 32; i++) {
    x[i] = finite_within(in[i], -113 * kLargestF16, 113 * kLargestF16);
    squares += x[i] * x[i];
  }
  const float rms = sqrtf(squares / 32);
  memset(&b, 0, sizeof(b));
  if (!(rms > 0x1p-40f)) return;
  for (int i = 0; i < 32; i++) w[i] = rms + fabsf(x[i]);
  encode_scale(iq4_scale(x, w), b.d);
  set_iq4_codes(x, decode_f16(b.d), b.q);
}

}  // namespace verdant
