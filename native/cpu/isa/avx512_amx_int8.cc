// The overlay for AMX-INT8: int8 products of many rows on tiles, for the types whose scales are for 32 weights. Sealed:
// this file sees C headers and our kernel headers only. The sums are the integers of int8.h and the floats follow in
// its order, so bits are those of the kernels for fewer rows.
#include "cpu/isa/amx.h"
#include "cpu/isa/vec_avx512.h"

#define VERDANT_ISA avx512
#include "cpu/dot/tile.h"

#include "cpu/dot/int8.h"
#include "cpu/dot/quants.h"
#include "cpu/overlays.h"

namespace verdant::avx512 {
namespace {

constexpr int kRows = 16, kPanels = 2;
constexpr int kSubK = 32;              // k of a tile: what a scale is for
constexpr int kGroup = 4;              // subs whose tiles run while the floats of the group before are made
constexpr int kChunkSubs = 16;         // k of a decoded pass is 512: two panels of it stay in L1
constexpr int64_t kTile = kRows * 16;  // elements

constexpr int64_t kPassRows = 256;  // rows whose y waits while a chunk passes

// Sums of two groups [sub][panel][row][16]; of a chunk and 16 rows: the scales of x and `aux` as [sub][row], and s
// [panel][row][16]; y of all rows [tile of rows][panel][row][16].
struct Scratch {
  alignas(64) int32_t sums[2][kGroup * kPanels * kTile];
  alignas(64) float dx[kChunkSubs * kRows], aux[kChunkSubs * kRows];
  alignas(64) float s[kPanels * kTile], y[kPassRows / kRows * kPanels * kTile];
};

// 16 rows of 16 floats, `stride` apart, transposed. Rows from `rows` on read the last one.
void transpose(const float* in, int64_t stride, int64_t rows, int64_t count, float* out) {
  __m512 a[16], b[16];
  for (int i = 0; i < 16; i++) a[i] = load_n(in + (i < rows ? i : rows - 1) * stride, count).v;
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      const __m512d x = _mm512_castps_pd(b[i + j]), y = _mm512_castps_pd(b[i + j + 2]);
      a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  // a[4 q + c] holds column 4 l + c of rows 4 q to 4 q + 3 in its lane l.
  for (int c = 0; c < 4; c++) {
    const __m512 lo = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x44), hi = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xee);
    const __m512 lo2 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x44);
    const __m512 hi2 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xee);
    _mm512_store_ps(out + 16 * c, _mm512_shuffle_f32x4(lo, lo2, 0x88));
    _mm512_store_ps(out + 16 * (4 + c), _mm512_shuffle_f32x4(lo, lo2, 0xdd));
    _mm512_store_ps(out + 16 * (8 + c), _mm512_shuffle_f32x4(hi, hi2, 0x88));
    _mm512_store_ps(out + 16 * (12 + c), _mm512_shuffle_f32x4(hi, hi2, 0xdd));
  }
}

// As int8_decode, with signed bytes u - kBias.
template <class D>
inline void amx_decode(const uint8_t* block, uint8_t* out) {
  int8_decode<D>(block, out);
  if constexpr (D::kBias != 0)
    for (int64_t i = 0; i < D::kBlock * 16; i += 64)
      _mm512_store_si512(out + i, _mm512_sub_epi8(_mm512_load_si512(out + i), _mm512_set1_epi8((char)D::kBias)));
}

// A decoded sub of a panel: its bytes, and its block.
template <class D>
inline const uint8_t* block_of(const uint8_t* w, int64_t sub) {
  return w + sub / (D::kBlock / kSubK) * Decoded<D>::kBlockBytes;
}

// Sums of `count` subs of x for two panels.
template <class D>
inline void amx_sub(const Int8Args& a, int64_t sub, int32_t* sums) {
  const uint8_t* w = block_of<D>(a.w, sub) + sub % (D::kBlock / kSubK) * kSubK * 16;
  _tile_loadd(4, a.x + sub * kSubK, (int)a.x_stride);
  _tile_zero(0);
  _tile_loadd(6, w, 64);
  _tile_dpbssd(0, 4, 6);
  _tile_zero(1);
  _tile_loadd(7, w + a.panel_bytes, 64);
  _tile_dpbssd(1, 4, 7);
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTile, 64);
}
template <class D>
inline void amx_sums(const Int8Args& a, int64_t sub, int count, int32_t* sums) {
  stores_done();
  if (count == kGroup) {
    for (int i = 0; i < kGroup; i++) amx_sub<D>(a, sub + i, sums + i * kPanels * kTile);
  } else {
    for (int i = 0; i < count; i++) amx_sub<D>(a, sub + i, sums + i * kPanels * kTile);
  }
}

inline Vec value_of(const int32_t* sums) { return {_mm512_cvtepi32_ps(_mm512_load_si512(sums))}; }

// y += what `count` subs add, for blocks of 32: int8_blocks_32 for 16 rows of a panel.
template <class D>
inline void add_blocks_32(const uint8_t* w, int64_t sub, int count, const int32_t* sums, const Scratch& t, float* to) {
  using R = Decoded<D>;
  Vec y[kRows];
  for (int m = 0; m < kRows; m++) y[m] = load(to + 16 * m);
  for (int i = 0; i < count; i++, sub++, sums += kPanels * kTile) {
    const uint8_t* block = block_of<D>(w, sub);
    const Vec d = R::d(block);
    const float *dx = t.dx + sub * kRows, *aux = t.aux + sub * kRows;
    for (int m = 0; m < kRows; m++) y[m] = fma(value_of(sums + 16 * m), mul(d, set1(dx[m])), y[m]);
    if constexpr (D::kMin) {
      const Vec least = R::min(block);
      for (int m = 0; m < kRows; m++) y[m] = fma(least, set1(aux[m]), y[m]);
    }
  }
  for (int m = 0; m < kRows; m++) store(to + 16 * m, y[m]);
}

// s += what `count` subs of a block of 256 add.
template <class D>
inline void add_subs(const uint8_t* block, int64_t first, int count, const int32_t* sums, bool fresh, float* to) {
  using R = Decoded<D>;
  Vec s[kRows];
  for (int m = 0; m < kRows; m++) s[m] = fresh ? zero() : load(to + 16 * m);
  for (int i = 0; i < count; i++, sums += kPanels * kTile) {
    const Vec scale = R::sub_scale(block, first + i);
    for (int m = 0; m < kRows; m++) s[m] = fma(value_of(sums + 16 * m), scale, s[m]);
  }
  for (int m = 0; m < kRows; m++) store(to + 16 * m, s[m]);
}

// y += d dx s (- dmin dx t) at the end of a block of 256: int8_blocks_256 for 16 rows of a panel. dx: that of row 0.
template <class D>
inline void end_block_256(const uint8_t* block, const float* dx, int64_t dx_stride, int64_t rows, const float* aux,
                          const float* s, float* y) {
  using R = Decoded<D>;
  constexpr int kSubs = 256 / kSubK;
  const Vec d = R::d(block);
  for (int m = 0; m < rows; m++)
    store(y + 16 * m, fma(load(s + 16 * m), mul(d, set1(dx[m * dx_stride])), load(y + 16 * m)));
  if constexpr (D::kMin) {
    Vec t[kRows];
    for (int m = 0; m < kRows; m++) t[m] = zero();
    for (int i = 0; i < kSubs; i++) {
      const Vec least = R::sub_min(block, i);
      for (int m = 0; m < kRows; m++) t[m] = fma(least, set1(aux[i * kRows + m]), t[m]);
    }
    const Vec dmin = R::dmin(block);
    for (int m = 0; m < rows; m++) store(y + 16 * m, fma(t[m], mul(dmin, set1(-dx[m * dx_stride])), load(y + 16 * m)));
  }
}

template <class D>
inline void add_group(const Int8Args& a, int64_t rows, int64_t sub, int count, const int32_t* sums, Scratch& t,
                      float* y) {
  constexpr int64_t kSubs = D::kBlock / kSubK;
  for (int p = 0; p < kPanels; p++) {
    const uint8_t* w = a.w + p * a.panel_bytes;
    if constexpr (D::kBlock == 32) {
      add_blocks_32<D>(w, sub, count, sums + p * kTile, t, y + p * kTile);
    } else {
      const uint8_t* block = block_of<D>(w, sub);
      add_subs<D>(block, sub % kSubs, count, sums + p * kTile, sub % kSubs == 0, t.s + p * kTile);
      if (sub % kSubs + count == kSubs)
        end_block_256<D>(block, a.dx + sub / kSubs, a.dx_stride, rows, t.aux + sub / kSubs * kSubs * kRows,
                         t.s + p * kTile, y + p * kTile);
    }
  }
}

// All rows times two panels over the k of a pass. The tiles of a group run while the floats of the one before are made:
// they are different units.
template <class D>
void amx_rows(const Int8Args& all, int64_t m, Scratch& t) {
  const int64_t subs = all.k / kSubK, groups = (subs + kGroup - 1) / kGroup;
  const int64_t units = (m + kRows - 1) / kRows * groups;
  const auto count = [subs](int64_t sub) { return (int)(subs - sub < kGroup ? subs - sub : kGroup); };
  const auto sums = [&](int64_t unit) {
    Int8Args a = all;
    a.x += unit / groups * kRows * a.x_stride;
    const int64_t sub = unit % groups * kGroup;
    amx_sums<D>(a, sub, count(sub), t.sums[unit % 2]);
  };
  sums(0);
  for (int64_t r = 0, unit = 0; r < m; r += kRows) {
    const int64_t rows = m - r < kRows ? m - r : kRows;
    Int8Args a = all;
    a.dx += r * a.dx_stride;
    const float* aux = (const float*)a.aux + r * a.aux_stride;
    if constexpr (D::kBlock == 32) transpose(a.dx, a.dx_stride, rows, subs, t.dx);
    if constexpr (D::kMin) transpose(aux, a.aux_stride, rows, subs, t.aux);
    for (int64_t sub = 0; sub < subs; sub += kGroup, unit++) {
      if (unit + 1 < units) sums(unit + 1);
      add_group<D>(a, rows, sub, count(sub), t.sums[unit % 2], t, t.y + r * 16 * kPanels);
    }
  }
}

void store_rows(const GemmArgs& g, int64_t n, const float* sums) {
  for (int64_t p = 0; p < kPanels; p++) {
    const int64_t column = n + 16 * p, left = g.n - column;
    const Vec bias = g.bias == nullptr ? zero() : load_n(g.bias + column, left);
    for (int64_t r = 0; r < g.m; r++) {
      const Vec v = load(sums + (r / kRows * kPanels + p) * kTile + r % kRows * 16);
      if (left > 0) store_n(g.y + r * g.y_stride + column, g.bias == nullptr ? v : add(v, bias), left);
    }
  }
}

// Rows of x beyond g.m up to a multiple of 16 are read, and their sums are not stored.
template <class D>
void amx_pass(const GemmArgs& g, Scratch& t) {
  using R = Decoded<D>;
  constexpr int64_t kBlocks = kChunkSubs * kSubK / D::kBlock;
  alignas(64) uint8_t scratch[kPanels * kBlocks * R::kBlockBytes];
  for (int64_t n = 0; n < g.n; n += 16 * kPanels) {
    memset(t.y, 0, (size_t)((g.m + kRows - 1) / kRows * kPanels * kTile) * sizeof(float));
    for (int64_t k = 0; k < g.k; k += kChunkSubs * kSubK) {
      const int64_t steps = g.k - k < kChunkSubs * kSubK ? g.k - k : kChunkSubs * kSubK, blocks = steps / D::kBlock;
      for (int64_t p = 0; p < kPanels && n + 16 * p < g.n; p++)
        for (int64_t b = 0; b < blocks; b++)
          amx_decode<D>(g.panels + (n / 16 + p) * g.panel_bytes + (k / D::kBlock + b) * D::kBlockBytes,
                        scratch + (p * kBlocks + b) * R::kBlockBytes);
      Int8Args a = {};
      a.x = (const int8_t*)g.x + k;
      a.x_stride = g.x_stride;
      a.dx = g.x_scales + k / D::kBlock;
      a.dx_stride = g.x_scales_stride;
      a.aux = (const int32_t*)g.x_aux + k / kSubK;
      a.aux_stride = g.x_aux_stride;
      a.w = scratch;
      a.panel_bytes = n + 16 < g.n ? kBlocks * R::kBlockBytes : 0;  // a single panel is taken twice
      a.k = steps;
      amx_rows<D>(a, g.m, t);
    }
    store_rows(g, n, t.y);
  }
}

template <class D>
void amx_int8_gemm(const GemmArgs& all) {
  Scratch t;
  memset(&t, 0, sizeof t);  // rows that nobody needs are computed too
  configure_tiles(kRows, kSubK);
  GemmArgs g = all;
  for (int64_t r = 0; r < all.m; r += g.m) {
    g.m = all.m - r < kPassRows ? all.m - r : kPassRows;
    g.x = (const int8_t*)all.x + r * all.x_stride;
    g.x_scales = all.x_scales + r * all.x_scales_stride;
    g.x_aux = (const int32_t*)all.x_aux + r * all.x_aux_stride;
    g.y = all.y + r * all.y_stride;
    amx_pass<D>(g, t);
  }
  _tile_release();
}

struct FillAmx {
  template <class D>
  static void type(KernelTable& table, DType type) {
    if constexpr (D::kSub == kSubK) table.int8_many[type] = amx_int8_gemm<D>;
  }
};

}  // namespace
}  // namespace verdant::avx512

namespace verdant {

void overlay_avx512_amx_int8(KernelTable& table) {
  avx512::fill_quants<avx512::FillAmx>(table);
  table.int8_many_rows = 64;  // below, tiles that are not full cost what they save
}

}  // namespace verdant
