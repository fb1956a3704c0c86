// Codes of weights as they lie in words, and bf16 made of them.
#pragma once
#include <bit>

#include "cuda/numbers.cuh"
#include "cuda/weights.h"

namespace verdant::cuda {

// Words of a lane that lie together, brought by as few loads as can be.
template <int kWords>
struct Words {
  uint32_t w[kWords];
};
template <int kWords>
static __device__ __forceinline__ Words<kWords> load_words(const uint8_t* p) {
  if constexpr (kWords == 1) return {{*reinterpret_cast<const uint32_t*>(p)}};
  if constexpr (kWords == 2) {
    const uint2 v = *reinterpret_cast<const uint2*>(p);
    return {{v.x, v.y}};
  }
  if constexpr (kWords == 4) {
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    return {{v.x, v.y, v.z, v.w}};
  }
}
// Word i; it is known when the program is compiled wherever speed matters.
template <int kWords>
static __device__ __forceinline__ uint32_t pick(const Words<kWords>& words, int i) {
  uint32_t v = words.w[0];
#pragma unroll
  for (int k = 1; k < kWords; k++)
    if (i == k) v = words.w[k];
  return v;
}
// Byte i as a float: 2^23 + byte is a float whose low mantissa byte is the byte.
template <int kWords>
static __device__ __forceinline__ float byte_of(const Words<kWords>& words, int i, int begin = 0) {
  return __uint_as_float(__byte_perm(pick(words, i / 4), 0x4b000000u, 0x7440 | i % 4)) -
         (8388608.0f + static_cast<float>(begin));
}
template <int kWords>
static __device__ __forceinline__ float half_of(const Words<kWords>& words, int i) {
  return f16_value(pick(words, i / 2) >> (i % 2 * 16) & 0xffff);
}

// (word & mask) | onto, in one instruction.
static __device__ __forceinline__ uint32_t masked(uint32_t word, uint32_t mask, uint32_t onto) {
#if defined(VERDANT_EMULATED)
  return (word & mask) | onto;
#else
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(word), "r"(mask), "r"(onto));
  return out;
#endif
}

// Onto both halves of a word, as bits `to` and on of a code of kOfCode bits: kBits bits that lie in both halves of
// `word`, before it was turned (units.h), from `from` on.
template <int kBits, int kOfCode>
static __device__ __forceinline__ uint32_t bits_onto(uint32_t word, int from, int to, uint32_t onto) {
  const uint32_t mask = ((1u << kBits) - 1) << (to + code_begin(kOfCode));
  return masked(__funnelshift_r(word, word, static_cast<unsigned>(from - to)), mask | mask << 16, onto);
}

// The codes of pair q of a set (units.h) onto both halves of a word.
template <int kBits>
static __device__ __forceinline__ uint32_t pair_onto(const uint32_t (&set)[CodeSet<kBits>::kWords], int q,
                                                     uint32_t onto) {
  using Set = CodeSet<kBits>;
  if (q < Set::kDirect) return bits_onto<kBits, kBits>(set[q / Set::kFields], kBits * (q % Set::kFields), 0, onto);
  if constexpr (kBits == 6) {
    const int i = q - Set::kDirect;
    return bits_onto<2, kBits>(set[2], 12 + 2 * i, 4, bits_onto<4, kBits>(set[i], 12, 0, onto));
  } else {
#pragma unroll
    for (int n = 0; n < Set::kWords; n++) onto = bits_onto<1, kBits>(set[n], 15, n, onto);
    return onto;
  }
}

// A number of at most eight bits in both halves of a word, as bf16.
constexpr uint32_t twice_bf16(float x) {
  const uint32_t half = std::bit_cast<uint32_t>(x) >> 16;
  return half | half << 16;
}

}  // namespace verdant::cuda
