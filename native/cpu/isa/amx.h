// What the AMX overlays share.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace verdant::avx512 {

// What ldtilecfg reads. Tiles 0 to 3: sums of 16 rows of x at most times 16 outputs; 4 and 5: x; 6 and 7: weights.
struct TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// `rows_of_x` rows; `bytes` of k in a row of x, and a quarter as many rows of weights.
static inline void configure_tiles(int rows_of_x, int bytes) {
  TileConfig c;
  for (int t = 0; t < 8; t++) {
    c.rows[t] = (uint8_t)(t < 6 ? rows_of_x : bytes / 4);
    c.bytes[t] = (uint16_t)(t == 4 || t == 5 ? bytes : 64);
  }
  _tile_loadconfig(&c);
}

// Tile instructions do not tell the compiler that they read memory.
static inline void stores_done() { __asm__ volatile("" ::: "memory"); }

}  // namespace verdant::avx512
