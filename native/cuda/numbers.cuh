// bf16 numbers in pairs, and the product of small tiles of them: PTX on a GPU, plain C++ in the emulator.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#if defined(VERDANT_EMULATED)
#include "tensor_core.h"
#endif

namespace verdant::cuda {

static __device__ __forceinline__ float bf16_value(uint32_t bits) { return __uint_as_float(bits << 16); }

static __device__ __forceinline__ float f16_value(uint32_t bits) {
#if defined(VERDANT_EMULATED)
  const uint32_t sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
  if (rest >= 0x7c00) return __uint_as_float(sign | 0x7f800000u | (rest & 0x3ff) << 13);
  const float magnitude = rest < 0x400 ? static_cast<float>(rest) * 5.9604644775390625e-8f  // 2^-24
                                       : __uint_as_float((rest << 13) + (112u << 23));
  return __uint_as_float(sign | __float_as_uint(magnitude));
#else
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(static_cast<uint16_t>(bits)));
  return x;
#endif
}
static __device__ __forceinline__ float f16_at(const uint8_t* p) {
  return f16_value(*reinterpret_cast<const uint16_t*>(p));
}

// Two bf16 in a word, `low` in the low half; nearest even, NaN stays NaN.
static __device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
#if defined(VERDANT_EMULATED)
  const auto round = [](float x) -> uint32_t {
    const uint32_t bits = __float_as_uint(x);
    if (x != x) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#else
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

// a * b + c of both halves, rounded once.
static __device__ __forceinline__ uint32_t bf16_fma(uint32_t a, uint32_t b, uint32_t c) {
#if defined(VERDANT_EMULATED)
  return bf16_pair(fmaf(bf16_value(a & 0xffff), bf16_value(b & 0xffff), bf16_value(c & 0xffff)),
                   fmaf(bf16_value(a >> 16), bf16_value(b >> 16), bf16_value(c >> 16)));
#else
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
#endif
}

// c (16, 8) += a (16, 16) b (16, 8), of a warp: lane 4 g + t holds of a in row g the pairs (k, k + 1) of k = 2 t in
// a[0] and 2 t + 8 in a[2], in row g + 8 in a[1] and a[3]; of b in column g those of k = 2 t in b[0] and 2 t + 8 in
// b[1]; of c columns 2 t and 2 t + 1 in rows g (c[0], c[1]) and g + 8 (c[2], c[3]).       PTX: mma.m16n8k16
static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
#if defined(VERDANT_EMULATED)
  struct Given {
    uint32_t a[4], b[2];
  };
  const Given own = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const unsigned lane = emulator::lane_id(), g = lane / 4, t = lane % 4;
  std::memcpy(emulator::lane_slot(lane), &own, sizeof own);
  emulator::warp_barrier(0xffffffffu);
  const auto at = [](unsigned l) { return reinterpret_cast<const Given*>(emulator::lane_slot(l)); };
  emulator::Operands x[2], y[2];
  uint16_t bits[16];
  for (unsigned i = 0; i < 2; i++) {
    for (unsigned k = 0; k < 16; k++)
      bits[k] = static_cast<uint16_t>(at(4 * g + k % 8 / 2)->a[i + k / 8 * 2] >> k % 2 * 16);
    x[i].set(bits);
    for (unsigned k = 0; k < 16; k++)
      bits[k] = static_cast<uint16_t>(at(4 * (2 * t + i) + k % 8 / 2)->b[k / 8] >> k % 2 * 16);
    y[i].set(bits);
  }
  for (unsigned i = 0; i < 4; i++) c[i] = emulator::fused_sum(x[i / 2], y[i % 2], c[i]);
  emulator::warp_barrier(0xffffffffu);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

}  // namespace verdant::cuda
