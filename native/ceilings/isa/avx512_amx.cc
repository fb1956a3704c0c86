#include <immintrin.h>
#include <string.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

// Tiles of 16 rows and 64 bytes: four of sums, two times two of bf16.
void bf16(int64_t blocks, void* sink) {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
  _tile_loadconfig(&config);
  alignas(64) uint8_t tile[1024];
  for (int i = 0; i < 16; i++) memcpy(tile + 64 * i, sink, 64);
  __asm__ volatile("" ::: "memory");  // tile instructions do not tell the compiler that they read memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, tile, 64);
  _tile_loadd(5, tile, 64);
  _tile_loadd(6, tile, 64);
  _tile_loadd(7, tile, 64);
  for (int64_t n = 0; n < blocks; n += 16) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, tile, 64);
  _tile_release();
  memcpy(sink, tile, 64);
}

}  // namespace

void add_avx512_amx(Loops& loops) { loops.bf16 = {bf16, 4.0 * 2 * 16 * 16 * 32 / 16}; }

}  // namespace verdant_ceilings
