// What row kernels share: loops over a row, sums in one fixed tree, and elementary functions of a Vec.
// Coefficients: least squares on Chebyshev nodes, reweighted to minimax, rounded to float lowest degree first.
// Largest error in ulp over 7e7 floats of each range, all tiers: exp 1.04, tanh 2.5, sigmoid 2.4, erf 1.3.
#include <math.h>
#include <string.h>

namespace verdant::VERDANT_ISA {

// load_n and store_n for lanes in 1 .. 16 and more; whole vectors need no mask.
static inline Vec load_part(const float* p, int64_t lanes) { return lanes >= 16 ? load(p) : load_n(p, lanes); }
static inline void store_part(float* p, Vec x, int64_t lanes) {
  if (lanes >= 16) {
    store(p, x);
  } else {
    store_n(p, x, lanes);
  }
}

// Calls f(column, lanes) for the 16-column pieces of a row of n; lanes < 16 in the last one only.
template <class F>
static inline void each_vec(int64_t n, F f) {
  int64_t c = 0;
  for (; c + 16 <= n; c += 16) f(c, (int64_t)16);
  if (c < n) f(c, n - c);
}

// Sum over a row in 4 x 16 lanes: s = f(s, column, lanes) for piece i updates accumulator i mod 4; lanes as above.
template <class F>
static inline float tree_sum(int64_t n, F f) {
  Vec s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  int64_t c = 0;
  for (; c + 64 <= n; c += 64) {
    s0 = f(s0, c, (int64_t)16);
    s1 = f(s1, c + 16, (int64_t)16);
    s2 = f(s2, c + 32, (int64_t)16);
    s3 = f(s3, c + 48, (int64_t)16);
  }
  if (c < n) s0 = f(s0, c, n - c);
  if (c + 16 < n) s1 = f(s1, c + 16, n - c - 16);
  if (c + 32 < n) s2 = f(s2, c + 32, n - c - 32);
  if (c + 48 < n) s3 = f(s3, c + 48, n - c - 48);
  return reduce_add(add(add(s0, s1), add(s2, s3)));
}

// x = n ln 2 + r, |r| <= ln 2 / 2: e^x = 2^n (1 + m), m = r + r^2 q(r) with q of degree 4.
struct ExpParts {
  Vec n, m;
};

static inline ExpParts exp_parts(Vec x) {
  const Vec n = round(mul(x, set1(1.44269504089f)));
  // ln 2 in two parts; the first has 15 bits, so that n times it is exact.
  const Vec r = fma(n, set1(-1.42860677e-6f), fma(n, set1(-0.693145751953125f), x));
  Vec q = set1(1.393373008e-3f);
  q = fma(q, r, set1(8.366716094e-3f));
  q = fma(q, r, set1(4.166647792e-2f));
  q = fma(q, r, set1(1.666654199e-1f));
  q = fma(q, r, set1(0.5f));
  return {n, fma(mul(r, r), q, r)};
}

// e^x: 0 below -87.3365 (where the result would be subnormal), inf above 88.7228, NaN for NaN.
static inline Vec exp(Vec x) {
  const Vec low = set1(-87.33654022f), high = set1(88.72283935546875f);
  const ExpParts e = exp_parts(min(max(x, low), high));
  const Vec y = mul_pow2(add(set1(1.0f), e.m), e.n);
  return select(lt(x, high), select(lt(x, low), zero(), y), mul(x, set1(INFINITY)));
}

// 1 / (1 + e^-x): 0 below -88.7228.
static inline Vec sigmoid(Vec x) { return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x)))); }

// t / (t + 2) with t = e^(2|x|) - 1 = 2^n m + (2^n - 1), which keeps small x exact to the last bits.
static inline Vec tanh(Vec x) {
  const Vec a = min(abs(x), set1(9.5f));  // 1 in float from 9.02 on
  const ExpParts e = exp_parts(add(a, a));
  const Vec power = mul_pow2(set1(1.0f), e.n);
  const Vec t = fma(power, e.m, sub(power, set1(1.0f)));
  return select(is_nan(x), x, copysign(div(t, add(t, set1(2.0f))), x));
}

// Of |x| < 1, erf: x + x p(x^2), p of degree 6. Of the others, erfc(|x|): e^-g(|x|), g of degree 8 on 1 .. 5; 0 above.
struct ErfParts {
  Mask inner;
  Vec erf, erfc;
};

static inline ErfParts erf_parts(Vec x) {
  const Vec a = abs(x), s = mul(x, x);
  Vec p = set1(7.920309872e-5f);
  p = fma(p, s, set1(-8.030750905e-4f));
  p = fma(p, s, set1(5.190733355e-3f));
  p = fma(p, s, set1(-2.685512602e-2f));
  p = fma(p, s, set1(1.128361821e-1f));
  p = fma(p, s, set1(-3.761262894e-1f));
  p = fma(p, s, set1(1.283791661e-1f));
  const Vec t = min(a, set1(5.0f));
  Vec g = set1(-1.188809847e-06f);
  g = fma(g, t, set1(3.679634028e-05f));
  g = fma(g, t, set1(-5.156043917e-04f));
  g = fma(g, t, set1(4.366124980e-03f));
  g = fma(g, t, set1(-2.527192794e-02f));
  g = fma(g, t, set1(1.080137417e-01f));
  g = fma(g, t, set1(6.340554953e-01f));
  g = fma(g, t, set1(1.128914952e+00f));
  g = fma(g, t, set1(7.171680409e-06f));
  const ExpParts e = exp_parts(sub(zero(), g));
  const Vec erfc = mul_pow2(add(set1(1.0f), e.m), e.n);
  return {lt(a, set1(1.0f)), fma(x, p, x), select(lt(a, set1(5.0f)), erfc, zero())};
}

static inline Vec erf(Vec x) {
  const ErfParts e = erf_parts(x);
  const Vec y = select(e.inner, e.erf, copysign(sub(set1(1.0f), e.erfc), x));
  return select(is_nan(x), x, y);
}

}  // namespace verdant::VERDANT_ISA
