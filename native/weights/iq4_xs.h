#pragma once
#include "weights/fit.h"
#include "weights/iq4_nl.h"

namespace verdant {

// iq4_xs: 256 weights in groups of 32, w = (d (s - 32)) level[q], levels of iq4_nl. Group i: bits 0..3 of s in nibble
// i % 2 of scale_low[i / 2], bits 4..5 at 2 i of the little-endian 16 bits of scale_high. Element 32 i + 16 h + l
// (l < 16, h < 2): q is nibble h of q[16 i + l].
struct IQ4_XSBlock {
  static constexpr int kSize = 256;
  F16Block d;
  uint8_t scale_high[2], scale_low[kSize / 64];
  uint8_t q[kSize / 2];
};
static_assert(sizeof(IQ4_XSBlock) == 136);

static inline int iq4_xs_scale(const IQ4_XSBlock& b, int i) {
  return ((b.scale_low[i / 2] >> (i % 2 * 4) & 15) | (b.scale_high[i / 4] >> (i % 4 * 2) & 3) << 4) - 32;
}

static inline void decode_iq4_xs(const IQ4_XSBlock& b, float* out) {
  const float d = decode_f16(b.d);
  for (int i = 0; i < 8; i++) {
    const float s = d * (float)iq4_xs_scale(b, i);
    for (int l = 0; l < 16; l++) {
      out[32 * i + l] = s * (float)kIQ4Levels[b.q[16 * i + l] & 15];
      out[32 * i + 16 + l] = s * (float)kIQ4Levels[b.q[16 * i + l] >> 4];
    }
  }
}

// The whole number in [-32, 31] near s / d for which x ~ d n level is best over 32 weights.
static inline int iq4_multiple(const float* x, const float* w, float s, float d) {
  const int middle = (int)nearest(within(ratio(s, d), -32, 31));
  int best = middle;
  float gain = -HUGE_VALF;
  for (int n = middle > -32 ? middle - 1 : -32; n <= middle + 1 && n < 32; n++) {
    const float scale = d * (float)n;
    const IQ4Sums sums = iq4_sums(x, w, ratio(1.0f, scale));
    const float made = scale * (2 * sums.xv - scale * sums.vv);  // w x^2 - w (x - scale v)^2, summed
    if (made > gain) best = n;
    gain = made > gain ? made : gain;
  }
  return best;
}

// NaN counts as 0; values beyond what a scale can hold end at 65504 * 31 * 113.
static inline void encode_iq4_xs(const float* in, IQ4_XSBlock& b) {
  memset(&b, 0, sizeof(b));
  float x[256], w[256], s[8], squares = 0, largest = 0;
  for (int e = 0; e < 256; e++) {
    x[e] = finite_within(in[e], -31 * 113 * kLargestF16, 31 * 113 * kLargestF16);
    squares += x[e] * x[e];
  }
  const float rms = sqrtf(squares / 256);
  if (!(rms > 0x1p-40f)) return;
  for (int e = 0; e < 256; e++) w[e] = rms + fabsf(x[e]);
  for (int i = 0; i < 8; i++) {
    s[i] = iq4_scale(x + 32 * i, w + 32 * i);
    largest = fabsf(s[i]) > fabsf(largest) ? s[i] : largest;
  }
  const float d = block_scale(largest, -32, b.d);
  for (int i = 0; i < 8; i++) {
    const int n = iq4_multiple(x + 32 * i, w + 32 * i, s[i], d), code = n + 32;
    b.scale_low[i / 2] |= (uint8_t)((code & 15) << (i % 2 * 4));
    b.scale_high[i / 4] |= (uint8_t)(code >> 4 << (i % 4 * 2));
    set_iq4_codes(x + 32 * i, d * (float)n, b.q + 16 * i);
  }
}

}  // namespace verdant
