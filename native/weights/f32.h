#pragma once
#include <stdint.h>
#include <string.h>

namespace verdant {

// f32: little-endian IEEE 754.
struct F32Block {
  uint8_t bytes[4];
};
static_assert(sizeof(F32Block) == 4);

static inline float decode_f32(const F32Block& b) {
  const uint32_t bits =
      b.bytes[0] | (uint32_t)b.bytes[1] << 8 | (uint32_t)b.bytes[2] << 16 | (uint32_t)b.bytes[3] << 24;
  float r;
  memcpy(&r, &bits, 4);
  return r;
}
static inline void encode_f32(float x, F32Block& b) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  for (int i = 0; i < 4; i++) b.bytes[i] = (uint8_t)(bits >> (8 * i));
}

}  // namespace verdant
