#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace verdant {

// f16: little-endian IEEE 754 binary16.
struct F16Block {
  uint8_t bytes[2];
};
static_assert(sizeof(F16Block) == 2);

static inline float decode_f16(const F16Block& b) {
  const uint32_t h = b.bytes[0] | (uint32_t)b.bytes[1] << 8;
  const uint32_t sign = (h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 0) return (sign != 0 ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
  const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13;
  float r;
  memcpy(&r, &bits, 4);
  return r;
}

// Round to nearest even; above the range infinity, a NaN stays a NaN.
static inline void encode_f16(float x, F16Block& b) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
  uint32_t h;
  if (magnitude > 0x7f800000) {
    h = 0x7e00;
  } else if (magnitude >= 0x47800000) {  // 65536 and more
    h = 0x7c00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: a multiple of 2^-24
    h = (uint32_t)nearbyintf(fabsf(x) * 0x1p24f);
  } else {
    h = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  }
  b.bytes[0] = (uint8_t)h;
  b.bytes[1] = (uint8_t)((h | sign) >> 8);
}

}  // namespace verdant
