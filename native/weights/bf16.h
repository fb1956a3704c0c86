#pragma once
#include <stdint.h>
#include <string.h>

namespace verdant {

// bf16: the upper half of an f32, little-endian.
struct BF16Block {
  uint8_t bytes[2];
};
static_assert(sizeof(BF16Block) == 2);

static inline float decode_bf16(const BF16Block& b) {
  const uint32_t bits = (uint32_t)b.bytes[0] << 16 | (uint32_t)b.bytes[1] << 24;
  float r;
  memcpy(&r, &bits, 4);
  return r;
}

// Round to nearest even; a NaN stays a NaN.
static inline void encode_bf16(float x, BF16Block& b) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  const uint32_t h = nan ? bits >> 16 | 0x40 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  b.bytes[0] = (uint8_t)h;
  b.bytes[1] = (uint8_t)(h >> 8);
}

}  // namespace verdant
