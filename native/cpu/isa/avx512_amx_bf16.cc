// The overlay for AMX-BF16: bf16 weights times x rounded to bf16, on tiles. Sealed: this file sees C headers and our
// kernel headers only.
//
// y = sum over steps of 32 k, ascending, of what one tdpbf16ps adds to a tile of sums; the steps are the same for every
// number of rows, so bits do not depend on it. Denormals count as zero.
#include <string.h>

#include "core/op.h"
#include "cpu/isa/amx.h"
#include "cpu/isa/vec_avx512.h"
#include "cpu/overlays.h"

namespace verdant::avx512 {
namespace {

constexpr int64_t kStep = 32;  // k of a tile
constexpr int64_t kTileBytes = 1024;
constexpr int64_t kChunkSteps = 16;  // two panels of them stay in L1
constexpr int64_t kAhead = 4096;     // bytes of a panel to fetch early
constexpr int64_t kPassRows = 256;   // rows whose sums wait while a chunk passes

// Steps [begin, end) of a panel, bf16 [k / 2][16 rows][2], as tiles: they lie so, but for a last step that k cuts,
// which is copied to `spare` and filled with zeros.
inline const uint8_t* weights(const GemmArgs& g, const uint8_t* panel, int64_t begin, int64_t end, uint8_t* spare) {
  const int64_t there = (g.k + 1) / 2 * 64;
  if (end * kTileBytes <= there) return panel + begin * kTileBytes;
  const int64_t bytes = there - begin * kTileBytes;
  memcpy(spare, panel + begin * kTileBytes, (size_t)bytes);
  memset(spare + bytes, 0, (size_t)((end - begin) * kTileBytes - bytes));
  return spare;
}

// Sums of a tile [16][16] to y, bias added.
inline void finish(const GemmArgs& g, const float* sums, int64_t row, int64_t rows, int64_t column) {
  const Vec bias = g.bias == nullptr ? zero() : load_n(g.bias + column, g.n - column);
  for (int64_t r = 0; r < rows; r++) {
    const Vec v = load(sums + 16 * r);
    store_n(g.y + (row + r) * g.y_stride + column, g.bias == nullptr ? v : add(v, bias), g.n - column);
  }
}

// Up to 16 rows, two panels in turn.
void few_rows(const GemmArgs& g) {
  alignas(64) uint8_t spare[2][kTileBytes];
  alignas(64) float sums[2][256];
  const uint16_t* x = (const uint16_t*)g.x;
  const int64_t steps = (g.k + kStep - 1) / kStep;
  configure_tiles((int)g.m, 64);
  for (int64_t n = 0; n < g.n; n += 32) {
    const uint8_t* first = g.panels + n / 16 * g.panel_bytes;
    const uint8_t* second = n + 16 < g.n ? first + g.panel_bytes : first;
    _tile_zero(0);
    _tile_zero(1);
    for (int64_t s = 0; s < steps; s++) {
      const uint8_t *w0 = weights(g, first, s, s + 1, spare[0]), *w1 = weights(g, second, s, s + 1, spare[1]);
      for (int64_t i = 0; i < kTileBytes; i += 64) {
        prefetch(w0 + kAhead + i);
        prefetch(w1 + kAhead + i);
      }
      stores_done();
      _tile_loadd(4, x + s * kStep, (int)(2 * g.x_stride));
      _tile_loadd(6, w0, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, w1, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    finish(g, sums[0], 0, g.m, n);
    if (n + 16 < g.n) finish(g, sums[1], 0, g.m, n + 16);
  }
}

// 32 rows (or 16) of x times two panels over the steps of a chunk; sums [tile of rows][panel][16][16] come from and go
// to memory.
template <bool kPair>
void tiles(const uint16_t* x, int64_t x_stride, const uint8_t* w0, const uint8_t* w1, int64_t steps, bool fresh,
           float* sums) {
  const int stride = (int)(2 * x_stride);
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + 256, 64);
    if constexpr (kPair) {
      _tile_loadd(2, sums + 512, 64);
      _tile_loadd(3, sums + 768, 64);
    }
  }
  for (int64_t s = 0; s < steps; s++) {
    _tile_loadd(4, x + s * kStep, stride);
    _tile_loadd(6, w0 + s * kTileBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w1 + s * kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kPair) {
      _tile_loadd(5, x + 16 * x_stride + s * kStep, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  if constexpr (kPair) {
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
  }
}

// Rows of x beyond g.m up to a multiple of 16 are read, and their sums are not stored.
void many_rows(const GemmArgs& g) {
  alignas(64) uint8_t spare[2][kChunkSteps * kTileBytes];
  alignas(64) float sums[kPassRows * 32];
  const int64_t steps = (g.k + kStep - 1) / kStep;
  configure_tiles(16, 64);
  for (int64_t n = 0; n < g.n; n += 32) {
    const uint8_t* first = g.panels + n / 16 * g.panel_bytes;
    const uint8_t* second = n + 16 < g.n ? first + g.panel_bytes : first;
    for (int64_t s = 0; s < steps; s += kChunkSteps) {
      const int64_t end = s + kChunkSteps < steps ? s + kChunkSteps : steps;
      const uint8_t *w0 = weights(g, first, s, end, spare[0]), *w1 = weights(g, second, s, end, spare[1]);
      stores_done();
      for (int64_t r = 0; r < g.m; r += 32) {
        const uint16_t* x = (const uint16_t*)g.x + r * g.x_stride + s * kStep;
        if (g.m - r > 16)
          tiles<true>(x, g.x_stride, w0, w1, end - s, s == 0, sums + 32 * r);
        else
          tiles<false>(x, g.x_stride, w0, w1, end - s, s == 0, sums + 32 * r);
      }
    }
    for (int64_t r = 0; r < g.m; r += 16) {
      const int64_t rows = g.m - r < 16 ? g.m - r : 16;
      finish(g, sums + 32 * r, r, rows, n);
      if (n + 16 < g.n) finish(g, sums + 32 * r + 256, r, rows, n + 16);
    }
  }
}

void amx_gemm(const GemmArgs& all) {
  GemmArgs g = all;
  for (int64_t r = 0; r < all.m; r += g.m) {
    g.m = all.m - r < kPassRows ? all.m - r : kPassRows;
    g.x = (const uint16_t*)all.x + r * all.x_stride;
    g.y = all.y + r * all.y_stride;
    if (g.m <= 16)
      few_rows(g);
    else
      many_rows(g);
  }
  _tile_release();
}

}  // namespace
}  // namespace verdant::avx512

namespace verdant {

void overlay_avx512_amx_bf16(KernelTable& table) { table.gemm[kBF16][kComputeBF16] = avx512::amx_gemm; }

}  // namespace verdant
