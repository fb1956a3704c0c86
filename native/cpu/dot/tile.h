// Register tiles shared by all weight types: y (m, n) = x (m, k) w (n, k)^T + bias.
// Each block of kBlockSteps steps is one multiply-add chain from zero with k ascending; the sums of blocks are added in
// order, bias last: one tree for every m, every tile size and every place in the matrix. (A single chain would lose
// accuracy with growing k: its error exceeds 1e-12 of the squared norm at k = 4096.) The sum of the blocks so far lies
// in y.
//
// A weight type D says how its panels hold weights: a block of kGroups groups of kGroup steps; weight<J>(block, g,
// scale) is step J of group g for 16 rows; a step takes kX elements of x.
#include "core/op.h"

namespace verdant::VERDANT_ISA {
namespace {

// Rows of x that a tile holds, and panels beside them: as many accumulators as the registers allow.
constexpr int kTileRows = kTileVecs < 6 ? kTileVecs : 6;
constexpr int tile_panels(int m) {
  const int fit = kTileVecs / m;
  return fit >= 8 && m == 1 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}
constexpr int kGroupPanels = tile_panels(kTileRows);
constexpr int64_t kBlockSteps = 512;  // a group of panels this deep stays in L2 while all row tiles pass

// Arithmetic of types whose steps are one f32 weight.
struct FmaSteps {
  static constexpr bool kQuants = false;  // decoded by D::decode, never multiplied as they lie
  using X = float;
  static constexpr int kX = 1;
  static inline Vec broadcast(const float* x) { return set1(*x); }
  static inline Vec mac(Vec x, Vec w, Vec sum) { return fma(x, w, sum); }
  static inline Vec scale(const uint8_t*) { return zero(); }
};

struct F32Dot : FmaSteps {
  static constexpr int kGroup = 1, kGroups = 1;
  static constexpr int64_t kBlockBytes = 64;
  static constexpr bool kDecode = false;
  template <int J>
  static inline Vec weight(const uint8_t* block, int, Vec) {
    return load((const float*)block);
  }
};

// What one pass of tiles sees: `steps` of k from x and w on, for whole panels.
struct TileArgs {
  const void* x;
  int64_t x_stride;
  const uint8_t* w;
  int64_t panel_bytes;
  int64_t steps;
  float* y;
  int64_t y_stride;
  int64_t n;  // outputs that exist
  const float* bias;
  bool first, last;  // whether k begins and ends here
};

template <class D, int M, int P, int J>
static inline void tile_step(Vec (&sum)[M][P], const TileArgs& a, const typename D::X* x, const uint8_t* w, int g,
                             const Vec (&scale)[P]) {
  Vec v[P];
  for (int p = 0; p < P; p++) v[p] = D::template weight<J>(w + p * a.panel_bytes, g, scale[p]);
  for (int m = 0; m < M; m++) {
    const Vec b = D::broadcast(x + m * a.x_stride);
    for (int p = 0; p < P; p++) sum[m][p] = D::mac(b, v[p], sum[m][p]);
  }
}

template <class D, int M, int P>
static inline void tile_group(Vec (&sum)[M][P], const TileArgs& a, const typename D::X* x, const uint8_t* w, int g,
                              const Vec (&scale)[P]) {
  tile_step<D, M, P, 0>(sum, a, x, w, g, scale);
  if constexpr (D::kGroup > 1) tile_step<D, M, P, 1>(sum, a, x + D::kX, w, g, scale);
  if constexpr (D::kGroup > 2) tile_step<D, M, P, 2>(sum, a, x + 2 * D::kX, w, g, scale);
  if constexpr (D::kGroup > 3) tile_step<D, M, P, 3>(sum, a, x + 3 * D::kX, w, g, scale);
}

template <class D, int M, int P>
static void tile(const TileArgs& a) {
  Vec sum[M][P];
  for (int m = 0; m < M; m++)
    for (int p = 0; p < P; p++) sum[m][p] = zero();
  const typename D::X* x = (const typename D::X*)a.x;
  const uint8_t* w = a.w;
  Vec scale[P];
  for (int p = 0; p < P; p++) scale[p] = zero();
  for (int64_t b = a.steps / (D::kGroup * D::kGroups); b > 0; b--) {
    for (int p = 0; p < P; p++) scale[p] = D::scale(w + p * a.panel_bytes);
    for (int g = 0; g < D::kGroups; g++) {
      tile_group<D, M, P>(sum, a, x, w, g, scale);
      x += D::kGroup * D::kX;
    }
    w += D::kBlockBytes;
  }
  // Only pairs can be cut: types of larger blocks have whole blocks.
  if constexpr (D::kGroup == 2)
    if (a.steps % 2 != 0) tile_step<D, M, P, 0>(sum, a, x, w, 0, scale);
  for (int p = 0; p < P; p++) {
    const Vec bias = a.last && a.bias != nullptr ? load_n(a.bias + 16 * p, a.n - 16 * p) : zero();
    for (int m = 0; m < M; m++) {
      float* y = a.y + m * a.y_stride + 16 * p;
      Vec v = sum[m][p];
      if (!a.first) v = add(load_n(y, a.n - 16 * p), v);
      if (a.last && a.bias != nullptr) v = add(v, bias);
      store_n(y, v, a.n - 16 * p);
    }
  }
}

// All panels for M rows, P at a time, then the rest with fewer.
template <class D, int M, int P>
static void tile_columns(TileArgs a) {
  for (; a.n > 16 * (P - 1); a.n -= 16 * P) {
    tile<D, M, P>(a);
    a.w += P * a.panel_bytes;
    a.y += 16 * P;
    if (a.bias != nullptr) a.bias += 16 * P;
  }
  if constexpr (P > 1)
    if (a.n > 0) tile_columns<D, M, P / 2>(a);
}

template <class D, int M>
static void tile_rows(const TileArgs& a, int64_t m) {
  if (m == M) {
    tile_columns<D, M, tile_panels(M)>(a);
  } else if constexpr (M > 1) {
    tile_rows<D, M - 1>(a, m);
  }
}

// m rows in tiles of nearly equal height: 7 = 4 + 3.
template <class D, int kMost>
static void row_tiles(const TileArgs& all, int64_t m) {
  const int64_t tiles = (m + kMost - 1) / kMost;
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t begin = t * m / tiles, end = (t + 1) * m / tiles;
    TileArgs a = all;
    a.x = (const typename D::X*)all.x + begin * all.x_stride;
    a.y += begin * all.y_stride;
    tile_rows<D, kMost>(a, end - begin);
  }
}

template <class D, int J>
static inline void decode_steps(const uint8_t* w, int g, Vec scale, int64_t count, float* out) {
  if constexpr (J < D::kGroup) {
    if (count > J) store(out + 16 * J, D::template weight<J>(w, g, scale));
    decode_steps<D, J + 1>(w, g, scale, count, out);
  }
}

// `steps` of one panel to f32: out (steps, 16).
template <class D>
static inline void decode_panel(const uint8_t* w, int64_t steps, float* out) {
  if constexpr (D::kQuants) {
    D::decode(w, steps, out);
  } else {
    for (; steps > 0; w += D::kBlockBytes) {
      const Vec scale = D::scale(w);
      for (int g = 0; g < D::kGroups && steps > 0; g++) {
        decode_steps<D, 0>(w, g, scale, steps, out);
        out += 16 * D::kGroup;
        steps -= D::kGroup;
      }
    }
  }
}

constexpr int64_t kManyRows = 32;     // from here on x is what does not fit the cache
constexpr int64_t kGroupsInTurn = 4;  // groups of panels that pass a block of k before the next one

// `group` panels at a time, all rows before the next block of k; with many rows some groups in turn, so that their
// block of x stays in L2. Decoded blocks are multiplied as f32: the same products as in the tile of the type itself.
template <class D, bool kDecoded>
static void gemm_blocks(const TileArgs& all, int64_t m, int64_t group) {
  float scratch[kDecoded ? kGroupPanels * kBlockSteps * 16 : 1];
  const int64_t steps = all.steps > 0 ? all.steps : 1, width = 16 * group;
  const int64_t turn = m < kManyRows ? width : width * kGroupsInTurn, blocks = (steps + kBlockSteps - 1) / kBlockSteps;
  for (int64_t from = 0; from < all.n; from += turn) {
    const int64_t to = all.n - from < turn ? all.n : from + turn, groups = (to - from + width - 1) / width;
    for (int64_t i = 0; i < blocks * groups; i++) {
      const int64_t k = i / groups * kBlockSteps, n = from + i % groups * width;
      TileArgs a = all;
      a.n = all.n - n < width ? all.n - n : width;
      a.steps = all.steps - k < kBlockSteps ? all.steps - k : kBlockSteps;
      a.first = k == 0;
      a.last = k + kBlockSteps >= all.steps;
      a.x = (const typename D::X*)all.x + k * D::kX;
      a.w = all.w + n / 16 * all.panel_bytes + k / (D::kGroup * D::kGroups) * D::kBlockBytes;
      a.y += n;
      if (a.bias != nullptr) a.bias += n;
      if constexpr (kDecoded) {
        for (int64_t p = 0; 16 * p < a.n; p++)
          decode_panel<D>(a.w + p * all.panel_bytes, a.steps, scratch + p * kBlockSteps * 16);
        a.w = (const uint8_t*)scratch;
        a.panel_bytes = kBlockSteps * 64;
        row_tiles<F32Dot, kTileRows>(a, m);
      } else {
        row_tiles<D, D::kDecode ? 1 : kTileRows>(a, m);
      }
    }
  }
  (void)scratch;
}

template <class D>
static void gemm(const GemmArgs& g) {
  const TileArgs a = {g.x, g.x_stride, g.panels, g.panel_bytes, (g.k + D::kX - 1) / D::kX, g.y, g.y_stride,
                      g.n, g.bias,     true,     true};
  if constexpr (D::kQuants) {
    gemm_blocks<D, true>(a, g.m, kGroupPanels);
  } else if (D::kDecode && g.m > 1) {
    gemm_blocks<D, D::kDecode>(a, g.m, kGroupPanels);
  } else {
    gemm_blocks<D, false>(a, g.m, g.m == 1 ? tile_panels(1) : kGroupPanels);
  }
}

// One row (lane) of a panel to f32.
template <class D>
static void decode_row(const uint8_t* panel, int64_t lane, int64_t k, float* out) {
  constexpr int64_t kBlock = D::kGroup * D::kGroups;
  float block[kBlock * 16];
  for (int64_t c = 0; c < k; c += kBlock, panel += D::kBlockBytes) {
    const int64_t count = k - c < kBlock ? k - c : kBlock;
    decode_panel<D>(panel, count, block);
    for (int64_t i = 0; i < count; i++) out[c + i] = block[16 * i + lane];
  }
}

}  // namespace
}  // namespace verdant::VERDANT_ISA
