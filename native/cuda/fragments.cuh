// Weights as operands of tensor cores. A weight of every block type is scale * code + minimum with a code that a bf16
// holds exactly, so codes are multiplied as they are and scales act on sums: nothing but x is rounded.
#pragma once
#include "cuda/numbers.cuh"
#include "cuda/weights.h"

namespace verdant::cuda {

// How the 32 weights of a group are dealt to the four lanes t of a row, 8 each, as words of two:
//   kEights: 8 t .. 8 t + 7.   kFours: 4 t .. 4 t + 3, then 16 + 4 t .. 16 + 4 t + 3, so that the first two words of
//   all lanes are weights 0 .. 15.
// x is dealt the same way; which weights meet in one product of 16 does not matter to it.
enum class Deal { kEights, kFours };

// Of a group of a row, in the order of the lanes' first and last two words where kHalves, else s[0], m[0] of all.
struct GroupScale {
  float s[2], m[2];
};

static __device__ __forceinline__ uint32_t word_at(const uint8_t* p) { return *reinterpret_cast<const uint32_t*>(p); }
static __device__ __forceinline__ uint2 words_at(const uint8_t* p) { return *reinterpret_cast<const uint2*>(p); }

// Four codes of a byte each, below 128, as two words.
static __device__ __forceinline__ void codes_to(uint32_t bytes, uint32_t minus, uint32_t& w0, uint32_t& w1) {
  w0 = bf16_of_codes(__byte_perm(bytes, 0, 0x4140), minus);
  w1 = bf16_of_codes(__byte_perm(bytes, 0, 0x4342), minus);
}
// -(128 + bias) twice, bias below 128.
template <int kBias>
static __device__ __forceinline__ uint32_t minus_bias() {
  return 0xc300c300u | kBias | kBias << 16;
}
// Bits 0 .. 3 of n to bit 0 of four bytes.
static __device__ __forceinline__ uint32_t spread_bits(uint32_t n) { return (n & 15) * 0x00204081u & 0x01010101u; }

// Fragments<type>: kDeal, kHalves (scales act on 16 weights), kMinima;
//   load(row, blocks, j, t, w): codes of lane t of group j, 32 weights, of a row with so many blocks;
//   scale(row, blocks, j).
template <DType kType>
struct Fragments;

template <DType kType>
struct BlockFields {
  // field_offset of weights.h
  template <int kField>
  static __device__ __forceinline__ int64_t offset(int64_t blocks) {
    if constexpr (kField == 0) {
      return 0;
    } else {
      constexpr int32_t kBytes = block_layout(kType).bytes[kField - 1];
      return offset<kField - 1>(blocks) + (kBytes * blocks + 15) / 16 * 16;
    }
  }
  template <int kField>
  static __device__ __forceinline__ const uint8_t* field(const uint8_t* row, int64_t blocks) {
    return row + offset<kField>(blocks);
  }
};

template <>
struct Fragments<kQ8_0> : BlockFields<kQ8_0> {
  static constexpr Deal kDeal = Deal::kEights;
  static constexpr bool kHalves = false, kMinima = false;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const uint2 q = words_at(field<1>(row, blocks) + 32 * j + 8 * t);
    const uint32_t a = q.x ^ 0x80808080u, b = q.y ^ 0x80808080u;
    w[0] = bf16_of_bytes(a, 0, 1, 128.0f);
    w[1] = bf16_of_bytes(a, 2, 3, 128.0f);
    w[2] = bf16_of_bytes(b, 0, 1, 128.0f);
    w[3] = bf16_of_bytes(b, 2, 3, 128.0f);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t, int64_t j) {
    return {{f16_at(row + 2 * j), 0.0f}, {0.0f, 0.0f}};
  }
};

// Nibbles of 16 bytes a group: low ones first, then high ones; with a fifth bit where kHigh.
template <DType kType, int kBias, bool kHigh, bool kWithMinimum>
struct NibbleFragments : BlockFields<kType> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = false, kMinima = kWithMinimum;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const uint32_t v = word_at(BlockFields<kType>::template field<kHigh ? 2 : 1>(row, blocks) + 16 * j + 4 * t);
    uint32_t low = v & 0x0f0f0f0fu, high = v >> 4 & 0x0f0f0f0fu;
    if constexpr (kHigh) {
      const uint32_t bits = word_at(BlockFields<kType>::template field<1>(row, blocks) + 4 * j);
      low |= spread_bits(bits >> (4 * t)) << 4;
      high |= spread_bits(bits >> (16 + 4 * t)) << 4;
    }
    const uint32_t minus = minus_bias<kBias>();
    codes_to(low, minus, w[0], w[1]);
    codes_to(high, minus, w[2], w[3]);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t, int64_t j) {
    if constexpr (!kWithMinimum) return {{f16_at(row + 2 * j), 0.0f}, {0.0f, 0.0f}};
    return {{f16_at(row + 4 * j), 0.0f}, {f16_at(row + 4 * j + 2), 0.0f}};
  }
};
template <>
struct Fragments<kQ4_0> : NibbleFragments<kQ4_0, 8, false, false> {};
template <>
struct Fragments<kQ4_1> : NibbleFragments<kQ4_1, 0, false, true> {};
template <>
struct Fragments<kQ5_0> : NibbleFragments<kQ5_0, 16, true, false> {};
template <>
struct Fragments<kQ5_1> : NibbleFragments<kQ5_1, 0, true, true> {};

// Levels of iq4_nl (weights/iq4_nl.h) plus 128, by code; `codes` holds four of them, a byte each.
static __device__ __forceinline__ uint32_t iq4_levels(uint32_t codes) {
  uint32_t pick = (codes | codes >> 4) & 0x00ff00ffu;
  pick = (pick | pick >> 8) & 0x7777u;
  const uint32_t low = __byte_perm(0x3f2d1801u, 0x766a5d4fu, pick), high = __byte_perm(0xa6998d81u, 0xf1d9c5b5u, pick);
  const uint32_t upper = (codes >> 3 & 0x01010101u) * 0xffu;
  return (low & ~upper) | (high & upper);
}
static __device__ __forceinline__ void iq4_load(const uint8_t* q, uint32_t w[4]) {
  const uint32_t v = word_at(q);
  const uint32_t low = iq4_levels(v & 0x0f0f0f0fu), high = iq4_levels(v >> 4 & 0x0f0f0f0fu);
  w[0] = bf16_of_bytes(low, 0, 1, 128.0f);
  w[1] = bf16_of_bytes(low, 2, 3, 128.0f);
  w[2] = bf16_of_bytes(high, 0, 1, 128.0f);
  w[3] = bf16_of_bytes(high, 2, 3, 128.0f);
}

template <>
struct Fragments<kIQ4_NL> : BlockFields<kIQ4_NL> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = false, kMinima = false;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    iq4_load(field<1>(row, blocks) + 16 * j + 4 * t, w);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t, int64_t j) {
    return {{f16_at(row + 2 * j), 0.0f}, {0.0f, 0.0f}};
  }
};

template <>
struct Fragments<kIQ4_XS> : BlockFields<kIQ4_XS> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = false, kMinima = false;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    iq4_load(field<3>(row, blocks) + 16 * j + 4 * t, w);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t blocks, int64_t j) {
    const int64_t b = j / 8;
    const int i = static_cast<int>(j % 8);
    const int high = field<1>(row, blocks)[2 * b + i / 4] >> (i % 4 * 2) & 3;
    const int low = field<2>(row, blocks)[4 * b + i / 2] >> (i % 2 * 4) & 15;
    return {{f16_at(row + 2 * b) * static_cast<float>((low | high << 4) - 32), 0.0f}, {0.0f, 0.0f}};
  }
};

// The six-bit scale and minimum of group i of eight (weights/q4_k.h).
static __device__ __forceinline__ GroupScale k_group_scale(const uint8_t* d, const uint8_t* scale, int i) {
  const int s = i < 4 ? scale[i] & 63 : (scale[i + 4] & 15) | scale[i - 4] >> 6 << 4;
  const int m = i < 4 ? scale[i + 4] & 63 : scale[i + 4] >> 4 | scale[i] >> 6 << 4;
  return {{f16_at(d) * static_cast<float>(s), 0.0f}, {-(f16_at(d + 2) * static_cast<float>(m)), 0.0f}};
}

// 128 bytes of nibbles a block: groups 2 c and 2 c + 1 are the low and high ones of 32 bytes; bit i of `high` is the
// fifth bit of group i where kHigh.
template <DType kType, bool kHigh>
struct KNibbleFragments : BlockFields<kType> {
  static constexpr Deal kDeal = Deal::kEights;
  static constexpr bool kHalves = false, kMinima = true;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const int64_t b = j / 8;
    const int i = static_cast<int>(j % 8);
    const uint2 v =
        words_at(BlockFields<kType>::template field<kHigh ? 3 : 2>(row, blocks) + 128 * b + i / 2 * 32 + 8 * t);
    uint32_t low = v.x >> (i % 2 * 4) & 0x0f0f0f0fu, high = v.y >> (i % 2 * 4) & 0x0f0f0f0fu;
    if constexpr (kHigh) {
      const uint2 bits = words_at(BlockFields<kType>::template field<2>(row, blocks) + 32 * b + 8 * t);
      low |= (bits.x >> i & 0x01010101u) << 4;
      high |= (bits.y >> i & 0x01010101u) << 4;
    }
    const uint32_t minus = minus_bias<0>();
    codes_to(low, minus, w[0], w[1]);
    codes_to(high, minus, w[2], w[3]);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t blocks, int64_t j) {
    return k_group_scale(row + j / 8 * 4, BlockFields<kType>::template field<1>(row, blocks) + j / 8 * 12,
                         static_cast<int>(j % 8));
  }
};
template <>
struct Fragments<kQ4_K> : KNibbleFragments<kQ4_K, false> {};
template <>
struct Fragments<kQ5_K> : KNibbleFragments<kQ5_K, true> {};

template <>
struct Fragments<kQ6_K> : BlockFields<kQ6_K> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = true, kMinima = false;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const int64_t b = j / 8;
    const int c = static_cast<int>(j % 8) / 4, i = static_cast<int>(j % 4);
    const uint8_t* low = row + 128 * b + 64 * c + i % 2 * 32 + 4 * t;
    const uint8_t* high = field<1>(row, blocks) + 64 * b + 32 * c + 4 * t;
    const uint32_t minus = minus_bias<32>();
    for (int h = 0; h < 2; h++) {
      const uint32_t code =
          (word_at(low + 16 * h) >> (i / 2 * 4) & 0x0f0f0f0fu) | (word_at(high + 16 * h) >> (2 * i) & 0x03030303u) << 4;
      codes_to(code, minus, w[2 * h], w[2 * h + 1]);
    }
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t blocks, int64_t j) {
    const float d = f16_at(field<3>(row, blocks) + j / 8 * 2);
    const auto* s = reinterpret_cast<const int8_t*>(field<2>(row, blocks)) + 2 * j;
    return {{d * static_cast<float>(s[0]), d * static_cast<float>(s[1])}, {0.0f, 0.0f}};
  }
};

// Two bits of 32 weights in 32 bytes, four groups in the same ones.
static __device__ __forceinline__ uint32_t two_bits(const uint8_t* q, int64_t j, int t, int h) {
  const int c = static_cast<int>(j % 8) / 4, i = static_cast<int>(j % 4);
  return word_at(q + j / 8 * 64 + 32 * c + 16 * h + 4 * t) >> (2 * i) & 0x03030303u;
}

template <>
struct Fragments<kQ2_K> : BlockFields<kQ2_K> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = true, kMinima = true;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const uint32_t minus = minus_bias<0>();
    for (int h = 0; h < 2; h++) codes_to(two_bits(field<1>(row, blocks), j, t, h), minus, w[2 * h], w[2 * h + 1]);
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t blocks, int64_t j) {
    const uint8_t* both = field<2>(row, blocks) + j / 8 * 4;
    const float d = f16_at(both), dmin = f16_at(both + 2);
    const uint8_t* s = row + 2 * j;
    return {{d * static_cast<float>(s[0] & 15), d * static_cast<float>(s[1] & 15)},
            {-(dmin * static_cast<float>(s[0] >> 4)), -(dmin * static_cast<float>(s[1] >> 4))}};
  }
};

template <>
struct Fragments<kQ3_K> : BlockFields<kQ3_K> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = true, kMinima = false;
  static __device__ __forceinline__ void load(const uint8_t* row, int64_t blocks, int64_t j, int t, uint32_t w[4]) {
    const uint32_t minus = minus_bias<4>();
    for (int h = 0; h < 2; h++) {
      const uint32_t high = word_at(row + j / 8 * 32 + 16 * h + 4 * t) >> static_cast<int>(j % 8) & 0x01010101u;
      codes_to(two_bits(field<1>(row, blocks), j, t, h) | high << 2, minus, w[2 * h], w[2 * h + 1]);
    }
  }
  static __device__ __forceinline__ GroupScale scale(const uint8_t* row, int64_t blocks, int64_t j) {
    const float d = f16_at(field<3>(row, blocks) + j / 8 * 2);
    const uint8_t* scale = field<2>(row, blocks) + j / 8 * 12;
    GroupScale out = {{0.0f, 0.0f}, {0.0f, 0.0f}};
    for (int h = 0; h < 2; h++) {
      const int i = 2 * static_cast<int>(j % 8) + h;
      const int s = (scale[i % 8] >> (i / 8 * 4) & 15) | (scale[8 + i % 4] >> (i / 4 * 2) & 3) << 4;
      out.s[h] = d * static_cast<float>(s - 32);
    }
    return out;
  }
};

// The column within a group of number k of lane t.
template <DType kType>
static __device__ __forceinline__ int lane_column(int t, int k) {
  return Fragments<kType>::kDeal == Deal::kEights ? 8 * t + k : k / 4 * 16 + 4 * t + k % 4;
}

// The eight weights of lane t of group j as floats, exactly.
template <DType kType>
static __device__ __forceinline__ void decode_lane(const uint8_t* row, int64_t blocks, int64_t j, int t, float out[8]) {
  using F = Fragments<kType>;
  uint32_t w[4];
  F::load(row, blocks, j, t, w);
  const GroupScale g = F::scale(row, blocks, j);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int half = F::kHalves ? i / 4 : 0;
    const float code = bf16_value(i % 2 ? w[i / 2] >> 16 : w[i / 2] & 0xffff);
    out[i] = F::kMinima ? g.s[half] * code + g.m[half] : g.s[half] * code;
  }
}

// A weight of a row of single numbers.
template <DType kType>
static __device__ __forceinline__ float plain_weight(const uint8_t* row, int64_t column) {
  if constexpr (kType == kF32) return reinterpret_cast<const float*>(row)[column];
  if constexpr (kType == kF16) return f16_at(row + 2 * column);
  return bf16_value(reinterpret_cast<const uint16_t*>(row)[column]);
}

}  // namespace verdant::cuda
