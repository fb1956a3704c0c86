// Scales and minima of the K-quants' groups: weighted least squares over grids of candidates, then over the whole
// numbers near the best. Groups of a block lie side by side, [element][group], so that loops over groups are vectors.
#pragma once
#include "weights/scalar.h"

namespace verdant {

constexpr int kSuper = 256;  // weights of a block of groups

template <int kGroups>
struct Groups {
  static constexpr int kLength = kSuper / kGroups;
  float x[kLength][kGroups], w[kLength][kGroups];  // w: importance of an error, rms of the block + |x|
};

// To the nearest whole number, ties to even, for |x| < 2^22.
static inline float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
// x within [low, high]; NaN is low.
static inline float within(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}
static inline float ratio(float a, float b) { return b != 0 ? a / b : 0.0f; }

// False: so small that no scale of any type could hold it; the block is zero then.
template <int kGroups>
static inline bool load_groups(const float* in, float limit, Groups<kGroups>& g) {
  float squares = 0;
  for (int i = 0; i < kSuper; i++) {
    const float x = finite_within(in[i], -limit, limit);
    g.x[i % g.kLength][i / g.kLength] = x;
    squares += x * x;
  }
  const float rms = sqrtf(squares / kSuper);
  for (int i = 0; i < g.kLength; i++)
    for (int l = 0; l < kGroups; l++) g.w[i][l] = rms + fabsf(g.x[i][l]);
  return rms > 0x1p-40f;
}

// The scale of a block that lets whole numbers up to `most` reach `largest`. Subnormal ones are rounded away from zero.
static inline float block_scale(float largest, float most, F16Block& b) {
  float d = largest / most;
  if (fabsf(d) < 0x1p-14f) d = copysignf(ceilf(fabsf(d) * 0x1p24f) * 0x1p-24f, d);
  encode_scale(d, b);
  return decode_f16(b);
}

// Signed: x ~ s q, q in [kLow, kHigh], kLow = -kHigh - 1.

template <int kGroups, int kLow, int kHigh>
struct SignedFit {
  using G = Groups<kGroups>;

  // Tries q = round(x inverse) for every group and keeps s where the weighted error falls most.
  static inline void attempt(const G& g, const float* inverse, float* gain, float* s) {
    float xq[kGroups] = {}, qq[kGroups] = {};
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        const float q = nearest(within(g.x[i][l] * inverse[l], kLow, kHigh)), wq = g.w[i][l] * q;
        xq[l] += wq * g.x[i][l];
        qq[l] += wq * q;
      }
    for (int l = 0; l < kGroups; l++) {
      const float fitted = ratio(xq[l], qq[l]), made = fitted * xq[l];  // w x^2 - w (x - s q)^2, summed
      s[l] = made > gain[l] ? fitted : s[l];
      gain[l] = made > gain[l] ? made : gain[l];
    }
  }

  // `targets`: whole and other numbers that the x of largest magnitude is mapped to.
  static inline void scales(const G& g, const float* targets, int count, float* s) {
    float extreme[kGroups] = {}, inverse[kGroups], gain[kGroups] = {};
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) extreme[l] = fabsf(g.x[i][l]) > fabsf(extreme[l]) ? g.x[i][l] : extreme[l];
    for (int l = 0; l < kGroups; l++) s[l] = 0;
    for (int t = 0; t < count; t++) {
      for (int l = 0; l < kGroups; l++) inverse[l] = ratio(targets[t], extreme[l]);
      attempt(g, inverse, gain, s);
    }
    for (int l = 0; l < kGroups; l++) inverse[l] = ratio(1.0f, s[l]);
    attempt(g, inverse, gain, s);
  }

  // Whole numbers n in [low, high] near s / d for which x ~ d n q is best.
  static inline void multiples(const G& g, const float* s, float d, float low, float high, float* n) {
    float least[kGroups];
    for (int l = 0; l < kGroups; l++) least[l] = HUGE_VALF;
    const float inverse_d = ratio(1.0f, d);
    for (float step = -1; step <= 1; step++) {
      float scale[kGroups], inverse[kGroups], sum[kGroups] = {}, at[kGroups];
      for (int l = 0; l < kGroups; l++) {
        at[l] = within(nearest(within(s[l] * inverse_d, low, high)) + step, low, high);
        scale[l] = d * at[l];
        inverse[l] = ratio(1.0f, scale[l]);
      }
      for (int i = 0; i < G::kLength; i++)
        for (int l = 0; l < kGroups; l++) {
          const float e = g.x[i][l] - scale[l] * nearest(within(g.x[i][l] * inverse[l], kLow, kHigh));
          sum[l] += g.w[i][l] * e * e;
        }
      for (int l = 0; l < kGroups; l++) {
        n[l] = sum[l] < least[l] ? at[l] : n[l];
        least[l] = sum[l] < least[l] ? sum[l] : least[l];
      }
    }
  }

  // q for the scales d n, as float; returns the d that fits these q best.
  static inline float codes(const G& g, float d, const float* n, float (*q)[kGroups]) {
    float inverse[kGroups], xt[kGroups] = {}, tt[kGroups] = {}, above = 0, below = 0;
    for (int l = 0; l < kGroups; l++) inverse[l] = ratio(1.0f, d * n[l]);
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        q[i][l] = nearest(within(g.x[i][l] * inverse[l], kLow, kHigh));
        const float t = n[l] * q[i][l];
        xt[l] += g.w[i][l] * t * g.x[i][l];
        tt[l] += g.w[i][l] * t * t;
      }
    for (int l = 0; l < kGroups; l++) {
      above += xt[l];
      below += tt[l];
    }
    return ratio(above, below);
  }

  // All of it: n in [low, high] with low = -high - 1, the block's scale d, codes q.
  static inline void fit(const G& g, const float* targets, int count, float low, float high, F16Block& d, float* n,
                         float (*q)[kGroups]) {
    float s[kGroups], largest = 0;
    scales(g, targets, count, s);
    for (int l = 0; l < kGroups; l++) largest = fabsf(s[l]) > fabsf(largest) ? s[l] : largest;
    float value = block_scale(largest, low, d);
    multiples(g, s, value, low, high, n);
    value = block_scale(codes(g, value, n, q), 1.0f, d);
    multiples(g, s, value, low, high, n);
    codes(g, value, n, q);
  }
};

// Affine: x ~ s q - m, q in [0, kHigh], s and m not negative.

template <int kGroups, int kHigh>
struct AffineFit {
  using G = Groups<kGroups>;

  float w[kGroups] = {}, x[kGroups] = {};  // sums of w and w x over a group
  float gain[kGroups] = {}, s[kGroups] = {}, m[kGroups] = {};

  explicit AffineFit(const G& g) {
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        w[l] += g.w[i][l];
        x[l] += g.w[i][l] * g.x[i][l];
      }
  }

  // Tries q = round((x + shift) inverse) for every group and keeps s and m where the weighted error falls most.
  void attempt(const G& g, const float* inverse, const float* shift) {
    float sq[kGroups] = {}, xq[kGroups] = {}, qq[kGroups] = {};
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        const float q = nearest(within((g.x[i][l] + shift[l]) * inverse[l], 0, kHigh)), wq = g.w[i][l] * q;
        sq[l] += wq;
        xq[l] += wq * g.x[i][l];
        qq[l] += wq * q;
      }
    for (int l = 0; l < kGroups; l++) {
      // Normal equations of x ~ s q - m; where m would be negative it is 0.
      const float determinant = w[l] * qq[l] - sq[l] * sq[l];
      float fitted = determinant > 0 ? (w[l] * xq[l] - sq[l] * x[l]) / determinant : 0.0f;
      float least = ratio(fitted * sq[l] - x[l], w[l]);
      const bool zero = least < 0;
      fitted = zero ? ratio(xq[l], qq[l]) : fitted;
      least = zero ? 0.0f : least;
      const float made = fitted * xq[l] - least * x[l];
      const bool better = fitted >= 0 && made > gain[l];
      s[l] = better ? fitted : s[l];
      m[l] = better ? least : m[l];
      gain[l] = better ? made : gain[l];
    }
  }

  // Tries the range of each group mapped to [0, target] for several targets around kHigh.
  void scales(const G& g, float first, float step, int count, int rounds) {
    float shift[kGroups] = {}, most[kGroups] = {}, inverse[kGroups];
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        shift[l] = -g.x[i][l] > shift[l] ? -g.x[i][l] : shift[l];
        most[l] = g.x[i][l] > most[l] || i == 0 ? g.x[i][l] : most[l];
      }
    for (int t = 0; t < count; t++) {
      for (int l = 0; l < kGroups; l++) inverse[l] = ratio(first + step * (float)t, most[l] + shift[l]);
      attempt(g, inverse, shift);
    }
    for (int round = 0; round < rounds; round++) {
      for (int l = 0; l < kGroups; l++) inverse[l] = ratio(1.0f, s[l]);
      const AffineFit before = *this;
      attempt(g, inverse, before.m);
    }
  }

  // Whole numbers a, b in [0, high] near s / d and m / dmin for which x ~ d a q - dmin b is best.
  void multiples(const G& g, float d, float dmin, float high, float* a, float* b) const {
    float least[kGroups];
    for (int l = 0; l < kGroups; l++) least[l] = HUGE_VALF;
    const float inverse_d = ratio(1.0f, d), inverse_min = ratio(1.0f, dmin);
    for (int step = 0; step < 9; step++) {
      float at[kGroups], bt[kGroups], scale[kGroups], minimum[kGroups], inverse[kGroups], sum[kGroups] = {};
      for (int l = 0; l < kGroups; l++) {
        at[l] = within(nearest(within(s[l] * inverse_d, 0, high)) + (float)(step % 3 - 1), 0, high);
        bt[l] = within(nearest(within(m[l] * inverse_min, 0, high)) + (float)(step / 3 - 1), 0, high);
        scale[l] = d * at[l];
        minimum[l] = dmin * bt[l];
        inverse[l] = ratio(1.0f, scale[l]);
      }
      for (int i = 0; i < G::kLength; i++)
        for (int l = 0; l < kGroups; l++) {
          const float y = g.x[i][l] + minimum[l];
          const float e = y - scale[l] * nearest(within(y * inverse[l], 0, kHigh));
          sum[l] += g.w[i][l] * e * e;
        }
      for (int l = 0; l < kGroups; l++) {
        a[l] = sum[l] < least[l] ? at[l] : a[l];
        b[l] = sum[l] < least[l] ? bt[l] : b[l];
        least[l] = sum[l] < least[l] ? sum[l] : least[l];
      }
    }
  }

  // q for the scales d a and minima dmin b, as float; then d and dmin become those that fit these q best.
  static inline void codes(const G& g, float& d, float& dmin, const float* a, const float* b, float (*q)[kGroups]) {
    float inverse[kGroups], tt[kGroups] = {}, tb[kGroups] = {}, bb[kGroups] = {}, xt[kGroups] = {}, xb[kGroups] = {};
    for (int l = 0; l < kGroups; l++) inverse[l] = ratio(1.0f, d * a[l]);
    for (int i = 0; i < G::kLength; i++)
      for (int l = 0; l < kGroups; l++) {
        const float x = g.x[i][l], w = g.w[i][l];
        q[i][l] = nearest(within((x + dmin * b[l]) * inverse[l], 0, kHigh));
        const float t = a[l] * q[i][l];
        tt[l] += w * t * t;
        tb[l] += w * t * b[l];
        bb[l] += w * b[l] * b[l];
        xt[l] += w * t * x;
        xb[l] += w * b[l] * x;
      }
    float stt = 0, stb = 0, sbb = 0, sxt = 0, sxb = 0;
    for (int l = 0; l < kGroups; l++) {
      stt += tt[l];
      stb += tb[l];
      sbb += bb[l];
      sxt += xt[l];
      sxb += xb[l];
    }
    const float determinant = stt * sbb - stb * stb;
    if (!(determinant > 1e-6f * stt * sbb)) return;  // as they were
    const float scale = (sxt * sbb - sxb * stb) / determinant, minimum = (sxt * stb - sxb * stt) / determinant;
    if (scale <= 0 || minimum < 0) return;
    d = scale;
    dmin = minimum;
  }

  // All of it: a, b in [0, high], the block's scales d and dmin, codes q.
  static inline void fit(const G& g, float first, float step, int count, int rounds, float high, F16Block& d,
                         F16Block& dmin, float* a, float* b, float (*q)[kGroups]) {
    AffineFit found(g);
    found.scales(g, first, step, count, rounds);
    float most_s = 0, most_m = 0;
    for (int l = 0; l < kGroups; l++) {
      most_s = found.s[l] > most_s ? found.s[l] : most_s;
      most_m = found.m[l] > most_m ? found.m[l] : most_m;
    }
    float scale = block_scale(most_s, high, d), minimum = block_scale(most_m, high, dmin);
    found.multiples(g, scale, minimum, high, a, b);
    codes(g, scale, minimum, a, b, q);
    scale = block_scale(scale, 1.0f, d);
    minimum = block_scale(minimum, 1.0f, dmin);
    found.multiples(g, scale, minimum, high, a, b);
    codes(g, scale, minimum, a, b, q);
  }
};

}  // namespace verdant
