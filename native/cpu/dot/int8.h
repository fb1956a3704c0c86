// Register tiles for weights in blocks times activations rounded to int8: y (m, n) = x (m, k) w (n, k)^T + bias.
//
// A weight type D has blocks of kBlock (32 or 256) weights. A block is sections of kSection weights, in groups of 4 per
// lane; kSub of them share a scale. With u the unsigned bytes that quants() gives:
//   blocks of 32:   w = d (u - kBias) (+ min)
//   blocks of 256:  w = d sub_scale (u - kBias) (- dmin sub_min)
// The sums of u times x are exact integers; what kBias and the minima take from them depends on sums of x only, which
// row_forms.h makes beside x (`aux`): -kBias times the sum of x over each kSub where there is a bias (integers, where
// the chain of u x begins), the sum itself, or the scaled sum, where there are minima (floats).
//
// Floats, one tree for every m, tile and place, blocks ascending:
//   int8/32, blocks of 32:    y = fma(sum, d dx, y), y = fma(min, aux, y); dx is the scale of 32 x
//   int8/256, blocks of 256:  s = fma(sum, sub_scale, s), t = fma(sub_min, aux, t) over the subs, then
//                             y = fma(s, d dx, y), y = fma(t, -dmin dx, y); dx is the scale of 256 x
namespace verdant::VERDANT_ISA {
namespace {

// What quantize.h made of rows of x.
struct Int8Args {
  const int8_t* x;
  int64_t x_stride;
  const float* dx;
  int64_t dx_stride;
  const void* aux;
  int64_t aux_stride;
  const uint8_t* w;
  int64_t panel_bytes;
  int64_t k;  // of this pass
  float* y;
  int64_t y_stride;
  int64_t n;
  const float* bias;
  bool first, last;
};

// Integer and float accumulators share the registers.
constexpr int kInt8Vecs = kTileVecs / 2;
constexpr int kInt8Rows = kInt8Vecs >= 12 ? 6 : kInt8Vecs >= 3 ? 3 : 2;
constexpr int int8_panels(int m) {
  const int fit = kInt8Vecs / m;
  return fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}
constexpr int kInt8Group = 4;                              // panels whose decoded form one pass holds
constexpr int64_t kInt8Chunk = 512;                        // k of a decoded pass: two panels of it stay in L1
constexpr int kInt8Few = kInt8Rows < 4 ? kInt8Rows : 4;    // rows of a tile that decodes as it goes
constexpr int64_t kInt8DecodeFrom = kInt8Direct ? 17 : 1;  // rows from which panels are decoded once for all row tiles

template <class D>
static VERDANT_INLINE IVec int8_start(const Int8Args& a, int m, int64_t sub) {
  if constexpr (D::kBias == 0) return zero_int();
  const int32_t init = ((const int32_t*)a.aux)[m * a.aux_stride + sub];
  if constexpr (D::kWide) return start_wide(init);
  return set1_int(init);
}

// Groups [G, kEnd) of a section.
template <class D, int M, int P, int G, int kEnd>
static VERDANT_INLINE void int8_groups(IVec (&sum)[M][P], const Int8Args& a, const int8_t* x, const uint8_t* section) {
  if constexpr (G < kEnd) {
    IVec u[P];
    for (int p = 0; p < P; p++) u[p] = D::template quants<G>(section + p * a.panel_bytes);
    for (int m = 0; m < M; m++) {
      const IVec b = set4(x + m * a.x_stride + 4 * G);
      for (int p = 0; p < P; p++) sum[m][p] = D::kWide ? dot_wide(sum[m][p], u[p], b) : dot(sum[m][p], u[p], b);
    }
    int8_groups<D, M, P, G + 1, kEnd>(sum, a, x, section);
  }
}

// Sub S of a section: its integer sums as floats.
template <class D, int M, int P, int S>
static VERDANT_INLINE void int8_sub(Vec (&value)[M][P], const Int8Args& a, const int8_t* x, const uint8_t* section,
                                    int64_t sub) {
  IVec sum[M][P];
  for (int m = 0; m < M; m++) {
    const IVec start = int8_start<D>(a, m, sub);
    for (int p = 0; p < P; p++) sum[m][p] = start;
  }
  constexpr int kGroups = D::kSub / 4;
  int8_groups<D, M, P, S * kGroups, (S + 1) * kGroups>(sum, a, x, section);
  for (int m = 0; m < M; m++)
    for (int p = 0; p < P; p++) value[m][p] = to_float(sum[m][p]);
}

// int8/32: blocks of 32 weights, a scale for each 32 of x.
template <class D, int M, int P>
static VERDANT_INLINE void int8_blocks_32(Vec (&y)[M][P], const Int8Args& a) {
  const uint8_t* w = a.w;
  for (int64_t b = 0; b < a.k / 32; b++, w += D::kBlockBytes) {
    Vec value[M][P];
    int8_sub<D, M, P, 0>(value, a, a.x + 32 * b, w, b);
    for (int p = 0; p < P; p++) {
      const Vec d = D::d(w + p * a.panel_bytes);
      for (int m = 0; m < M; m++) y[m][p] = fma(value[m][p], mul(d, set1(a.dx[m * a.dx_stride + b])), y[m][p]);
      if constexpr (D::kMin) {
        const Vec least = D::min(w + p * a.panel_bytes);
        for (int m = 0; m < M; m++) y[m][p] = fma(least, set1(((const float*)a.aux)[m * a.aux_stride + b]), y[m][p]);
      }
    }
  }
}

template <class D, int M, int P, int S>
static VERDANT_INLINE void int8_subs(Vec (&s)[M][P], const Int8Args& a, const int8_t* x, const uint8_t* block,
                                     const uint8_t* section, int64_t sub, int64_t first) {
  if constexpr (S < D::kSection / D::kSub) {
    Vec value[M][P];
    int8_sub<D, M, P, S>(value, a, x, section, sub + S);
    for (int p = 0; p < P; p++) {
      const Vec scale = D::sub_scale(block + p * a.panel_bytes, sub + S - first);
      for (int m = 0; m < M; m++) s[m][p] = fma(value[m][p], scale, s[m][p]);
    }
    int8_subs<D, M, P, S + 1>(s, a, x, block, section, sub, first);
  }
}

// int8/256 with blocks of 256 weights.
template <class D, int M, int P>
static VERDANT_INLINE void int8_blocks_256(Vec (&y)[M][P], const Int8Args& a) {
  constexpr int kSubs = 256 / D::kSub, kPer = D::kSection / D::kSub;
  const uint8_t* w = a.w;
  for (int64_t b = 0; b < a.k / 256; b++, w += D::kBlockBytes) {
    Vec s[M][P];
    for (int m = 0; m < M; m++)
      for (int p = 0; p < P; p++) s[m][p] = zero();
    for (int c = 0; c < 256 / D::kSection; c++)
      int8_subs<D, M, P, 0>(s, a, a.x + 256 * b + c * D::kSection, w, w + c * D::kSectionBytes, b * kSubs + c * kPer,
                            b * kSubs);
    for (int p = 0; p < P; p++) {
      const Vec d = D::d(w + p * a.panel_bytes);
      for (int m = 0; m < M; m++) y[m][p] = fma(s[m][p], mul(d, set1(a.dx[m * a.dx_stride + b])), y[m][p]);
    }
    if constexpr (D::kMin)
      for (int p = 0; p < P; p++) {
        Vec t[M];
        for (int m = 0; m < M; m++) t[m] = zero();
        for (int i = 0; i < kSubs; i++) {
          const Vec least = D::sub_min(w + p * a.panel_bytes, i);
          const float* aux = (const float*)a.aux + b * kSubs + i;
          for (int m = 0; m < M; m++) t[m] = fma(least, set1(aux[m * a.aux_stride]), t[m]);
        }
        const Vec dmin = D::dmin(w + p * a.panel_bytes);
        for (int m = 0; m < M; m++) y[m][p] = fma(t[m], mul(dmin, set1(-a.dx[m * a.dx_stride + b])), y[m][p]);
      }
  }
}

template <class D, int M, int P>
static void int8_tile(const Int8Args& a) {
  Vec y[M][P];
  for (int m = 0; m < M; m++)
    for (int p = 0; p < P; p++) y[m][p] = a.first ? zero() : load_n(a.y + m * a.y_stride + 16 * p, a.n - 16 * p);
  if constexpr (D::kBlock == 256) {
    int8_blocks_256<D, M, P>(y, a);
  } else {
    int8_blocks_32<D, M, P>(y, a);
  }
  for (int p = 0; p < P; p++) {
    const bool biased = a.last && a.bias != nullptr;
    const Vec bias = biased ? load_n(a.bias + 16 * p, a.n - 16 * p) : zero();
    for (int m = 0; m < M; m++)
      store_n(a.y + m * a.y_stride + 16 * p, biased ? add(y[m][p], bias) : y[m][p], a.n - 16 * p);
  }
}

// All panels for M rows, P at a time. Where fewer are left each is taken P times and stored once: a tile for the few
// would be as long as this one.
template <class D, int M, int P>
static void int8_columns(Int8Args a) {
  for (; a.n > 16 * (P - 1); a.n -= 16 * P) {
    int8_tile<D, M, P>(a);
    a.w += P * a.panel_bytes;
    a.y += 16 * P;
    if (a.bias != nullptr) a.bias += 16 * P;
  }
  const int64_t next = a.panel_bytes, n = a.n;
  a.panel_bytes = 0;
  for (int64_t c = 0; c < n; c += 16) {
    a.n = n - c < 16 ? n - c : 16;
    int8_tile<D, M, P>(a);
    a.w += next;
    a.y += 16;
    if (a.bias != nullptr) a.bias += 16;
  }
}

template <class D, int kLeast, int M>
static void int8_rows(const Int8Args& a, int64_t m) {
  if (m == M) {
    int8_columns<D, M, int8_panels(M)>(a);
  } else if constexpr (M > kLeast) {
    int8_rows<D, kLeast, M - 1>(a, m);
  }
}

// m rows in tiles of nearly equal height: 7 = 4 + 3. No tile is lower than kLeast.
template <class D, int kLeast, int kMost>
static void int8_row_tiles(const Int8Args& all, int64_t m) {
  const int64_t tiles = (m + kMost - 1) / kMost;
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t begin = t * m / tiles, end = (t + 1) * m / tiles;
    Int8Args a = all;
    a.x += begin * a.x_stride;
    a.dx += begin * a.dx_stride;
    a.aux = (const int32_t*)a.aux + begin * a.aux_stride;
    a.y += begin * a.y_stride;
    int8_rows<D, kLeast, kMost>(a, end - begin);
  }
}

// At most `count` outputs from `at` on, a whole number of panels.
static inline Int8Args int8_columns_from(const Int8Args& all, int64_t at, int64_t count) {
  Int8Args a = all;
  a.n = all.n - at < count ? all.n - at : count;
  a.w += at / 16 * all.panel_bytes;
  a.y += at;
  if (a.bias != nullptr) a.bias += at;
  return a;
}

// A block whose bytes and scales lie ready: bytes [group][16 rows][4], then floats [sub][16 rows]. Types that differ
// only in how they are stored share it.
template <int kBlockSize, int kSubSize, bool kHasBias, bool kIsWide, bool kHasMin>
struct Ready {
  static constexpr int kBlock = kBlockSize, kSub = kSubSize, kBias = kHasBias;
  static constexpr int kSection = kBlock == 256 ? 64 : 32, kSubs = kBlock == 256 ? 256 / kSub : 0;
  static constexpr bool kWide = kIsWide, kMin = kHasMin;
  static constexpr int64_t kSectionBytes = 16 * kSection, kScales = 16 * kBlock;
  static constexpr int64_t kBlockBytes = kScales + 64 * (kSubs + 1) * (kMin ? 2 : 1);
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return load_line(section + 64 * G);
  }
  static inline Vec at(const uint8_t* block, int64_t i) { return load((const float*)(block + kScales + 64 * i)); }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return at(block, s); }
  static inline Vec d(const uint8_t* block) { return at(block, kSubs); }
  static inline Vec sub_min(const uint8_t* block, int64_t s) { return at(block, kSubs + 1 + s); }
  static inline Vec min(const uint8_t* block) { return at(block, 1); }
  static inline Vec dmin(const uint8_t* block) { return at(block, 2 * kSubs + 1); }
};
template <class D>
using Decoded = Ready<D::kBlock, D::kSub, D::kBias != 0, D::kWide, D::kMin>;

template <class D, int G>
static inline void int8_lines(const uint8_t* section, uint8_t* out) {
  if constexpr (G < D::kSection / 4) {
    store_line(out + 64 * G, D::template quants<G>(section));
    int8_lines<D, G + 1>(section, out);
  }
}

// One block of 16 rows.
template <class D>
static inline void int8_decode(const uint8_t* block, uint8_t* out) {
  for (int c = 0; c < D::kBlock / D::kSection; c++)
    int8_lines<D, 0>(block + c * D::kSectionBytes, out + c * Decoded<D>::kSectionBytes);
  float* scales = (float*)(out + Decoded<D>::kScales);
  if constexpr (D::kBlock == 256) {
    constexpr int kSubs = Decoded<D>::kSubs;
    for (int s = 0; s < kSubs; s++) store(scales + 16 * s, D::sub_scale(block, s));
    store(scales + 16 * kSubs, D::d(block));
    if constexpr (D::kMin) {
      for (int s = 0; s < kSubs; s++) store(scales + 16 * (kSubs + 1 + s), D::sub_min(block, s));
      store(scales + 16 * (2 * kSubs + 1), D::dmin(block));
    }
  } else {
    store(scales, D::d(block));
    if constexpr (D::kMin) store(scales + 16, D::min(block));
  }
}

// Panels decoded a chunk of k at a time, all rows before the next chunk; y holds the sums so far.
template <class D>
static void int8_decoded(const Int8Args& all, int64_t m) {
  using R = Decoded<D>;
  constexpr int kLeast = kInt8Direct ? kInt8Rows / 2 : 1;  // of two tiles or more
  alignas(64) uint8_t scratch[kInt8Group * kInt8Chunk / D::kBlock * R::kBlockBytes];
  for (int64_t n = 0; n < all.n; n += 16 * kInt8Group) {
    for (int64_t k = 0; k == 0 || k < all.k; k += kInt8Chunk) {
      Int8Args a = int8_columns_from(all, n, 16 * kInt8Group);
      const uint8_t* w = a.w;
      a.k = all.k - k < kInt8Chunk ? all.k - k : kInt8Chunk;
      a.first = k == 0;
      a.last = k + kInt8Chunk >= all.k;
      a.x += k;
      a.dx += k / D::kBlock;
      a.aux = (const int32_t*)all.aux + k / D::kSub;
      const int64_t blocks = a.k / D::kBlock;
      a.w = scratch;
      a.panel_bytes = blocks * R::kBlockBytes;
      for (int64_t p = 0; 16 * p < a.n; p++) {
        const uint8_t* panel = w + p * all.panel_bytes + k / D::kBlock * D::kBlockBytes;
        for (int64_t b = 0; b < blocks; b++)
          int8_decode<D>(panel + b * D::kBlockBytes, scratch + p * a.panel_bytes + b * R::kBlockBytes);
      }
      // Two panels stay in L1 while all rows pass.
      constexpr int64_t kColumns = 16 * int8_panels(kInt8Rows);
      for (int64_t c = 0; c < a.n; c += kColumns)
        int8_row_tiles<R, kLeast, kInt8Rows>(int8_columns_from(a, c, kColumns), m);
    }
  }
}

template <class D>
static void int8_gemm(const GemmArgs& g) {
  const Int8Args a = {(const int8_t*)g.x,
                      g.x_stride,
                      g.x_scales,
                      g.x_scales_stride,
                      g.x_aux,
                      g.x_aux_stride,
                      g.panels,
                      g.panel_bytes,
                      g.k,
                      g.y,
                      g.y_stride,
                      g.n,
                      g.bias,
                      true,
                      true};
  if (g.m >= kInt8DecodeFrom) return int8_decoded<D>(a, g.m);
  if constexpr (kInt8Direct) {
    // Several tiles of rows: a group of panels stays in L2 while they pass.
    const int64_t group = g.m > kInt8Few ? 16 * kInt8Group : g.n;
    for (int64_t n = 0; n < g.n; n += group) int8_row_tiles<D, 1, kInt8Few>(int8_columns_from(a, n, group), g.m);
  }
}

}  // namespace
}  // namespace verdant::VERDANT_ISA
