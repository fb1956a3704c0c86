// Weights as operands of tensor cores. A weight of every block type is scale * code + minimum with a code that a bf16
// holds exactly, so codes are multiplied as they are and scales act on sums: nothing but x is rounded.
#pragma once
#include "cuda/code_words.cuh"

namespace verdant::cuda {

// How minima come to a sum: not at all; scaled and added with each group; or as products of whole numbers with sums of
// x, of a whole unit at once. Then what codes are too large by comes in the same way, which saves its subtraction.
enum class Minima { kNone, kOfGroups, kOfUnit };

// Fragments<type>, of weights in units of kGroups groups of 32:
//   Codes: what lane t of the four of a row holds of a unit; codes(row, units, u, t) of unit u of so many of a row;
//   words(codes, i, w): the codes of group i, four words of two; words_at(row, units, j, t, w): of group j of the row;
//   Head: scales of a unit; head(row, units, u); scale(head, i, half): of group i, or of 16 weights where kHalves;
//   kMinima, and where there are: minimum(head, i, half);
//   kOfUnit: codes are too large by kExcess; minima(head, t), scales(head, t): whole numbers of sums of 16 columns 2 t,
//   2 t + 1, and 2 t + 8, 2 t + 9, as two words; factors(head): what both are to be multiplied with.
template <DType kType>
struct Fragments;

template <DType kType>
struct UnitFields {
  static constexpr UnitLayout kLayout = unit_layout(kType);
  static constexpr int kGroups = kLayout.cols / 32;
  static constexpr bool kHalves = false;
  static constexpr Minima kMinima = Minima::kNone;

  // Field kField of unit u.
  template <int kField>
  static __device__ __forceinline__ const uint8_t* field(const uint8_t* row, int units, int u) {
    return row + field_offset<kField>(units) + kLayout.bytes[kField] * u;
  }

 private:
  template <int kField>
  static __device__ __forceinline__ int field_offset(int units) {
    if constexpr (kField == 0) {
      return 0;
    } else {
      constexpr int32_t kBytes = kLayout.bytes[kField - 1];
      return field_offset<kField - 1>(units) + (kBytes * units + 15) / 16 * 16;
    }
  }
};

template <>
struct Fragments<kBF16> : UnitFields<kBF16> {
  struct Codes {
    uint2 low, high;
  };
  struct Head {};
  static __device__ __forceinline__ Codes codes(const uint8_t* row, int, int u, int t) {
    const auto* p = reinterpret_cast<const uint2*>(row + 64 * u + 8 * t);
    return {p[0], p[4]};
  }
  static __device__ __forceinline__ Head head(const uint8_t*, int, int) { return {}; }
  static __device__ __forceinline__ void words(const Codes& c, int, uint32_t w[4]) {
    w[0] = c.low.x;
    w[1] = c.low.y;
    w[2] = c.high.x;
    w[3] = c.high.y;
  }
  static __device__ __forceinline__ void words_at(const uint8_t* row, int, int j, int t, uint32_t w[4]) {
    words(codes(row, 0, j, t), 0, w);
  }
};

// A lane's codes of a unit, as words; what gives numbers of them is kin: join(set, group, w) makes words of two bf16 of
// a group of a set.
template <DType kType, class Kin>
struct SetCodes : UnitFields<kType> {
  using Fields = UnitFields<kType>;
  using Fields::kGroups;
  using Set = CodeSet<code_bits(kType)>;
  static constexpr int kWords = kGroups / Set::kGroups * Set::kWords;  // of a lane
  using Codes = Words<kWords>;

  static __device__ __forceinline__ Codes codes(const uint8_t* row, int units, int u, int t) {
    constexpr int kRest = kWords % 4;
    const uint8_t* from = Fields::template field<1>(row, units, u);
    Codes out;
#pragma unroll
    for (int n = 0; n + 4 <= kWords; n += 4) put(load_words<4>(from + word_place(kWords, t, n)), out, n);
    if constexpr (kRest > 0) put(load_words<kRest>(from + word_place(kWords, t, kWords - kRest)), out, kWords - kRest);
    return out;
  }
  static __device__ __forceinline__ void words(const Codes& c, int i, uint32_t w[4]) {
    uint32_t set[Set::kWords];
#pragma unroll
    for (int n = 0; n < Set::kWords; n++) set[n] = pick(c, i / Set::kGroups * Set::kWords + n);
    Kin::join(set, i % Set::kGroups, w);
  }
  static __device__ __forceinline__ void words_at(const uint8_t* row, int units, int j, int t, uint32_t w[4]) {
    const uint8_t* from = Fields::template field<1>(row, units, j / kGroups);
    const int i = j % kGroups;
    uint32_t set[Set::kWords];
#pragma unroll
    for (int n = 0; n < Set::kWords; n++)
      set[n] = *reinterpret_cast<const uint32_t*>(from + word_place(kWords, t, i / Set::kGroups * Set::kWords + n));
    Kin::join(set, i % Set::kGroups, w);
  }

 private:
  template <int kCount>
  static __device__ __forceinline__ void put(const Words<kCount>& from, Codes& to, int n) {
#pragma unroll
    for (int i = 0; i < kCount; i++) to.w[n + i] = from.w[i];
  }
};

// Codes of up to six bits, less kBias; 2^kBits too large where kWhole.
template <int kBits, int kBias, bool kWhole>
struct SmallCodes {
  using Set = CodeSet<kBits>;
  static __device__ __forceinline__ void join(const uint32_t (&set)[Set::kWords], int group, uint32_t w[4]) {
    constexpr int kAdded = 1 << kBits;
#pragma unroll
    for (int g = 0; g < Set::kGroups; g++) {
      if (g != group) continue;
#pragma unroll
      for (int k = 0; k < 4; k++) {
        w[k] = pair_onto<kBits>(set, 4 * g + k, twice_bf16(kAdded));
        if constexpr (!kWhole) w[k] = bf16_fma(w[k], twice_bf16(1), twice_bf16(-kAdded - kBias));
      }
    }
  }
};
template <DType kType, int kBias>
using LessCodes = SetCodes<kType, SmallCodes<code_bits(kType), kBias, false>>;
template <DType kType>
struct WholeCodes : SetCodes<kType, SmallCodes<code_bits(kType), 0, true>> {
  static constexpr float kExcess = 1 << code_bits(kType);
};

// Codes of eight bits, less 128.
struct ByteCodes {
  static __device__ __forceinline__ void join(const uint32_t (&set)[2], int, uint32_t w[4]) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const Words<1> word = {{set[k / 2]}};
      w[k] = bf16_pair(byte_of(word, k % 2, 128), byte_of(word, 2 + k % 2, 128));
    }
  }
};

// Places in the table of iq4_nl (weights/iq4_nl.h).
struct TableCodes {
  // The levels plus 128 of the four codes in the low half of `codes`, a byte each: those of lower and upper codes are
  // looked up, then one of each two is taken.
  static __device__ __forceinline__ Words<1> levels(uint32_t codes) {
    const uint32_t at = codes & 0x7777u;
    return {{__byte_perm(__byte_perm(0x3f2d1801u, 0x766a5d4fu, at), __byte_perm(0xa6998d81u, 0xf1d9c5b5u, at),
                         0x3210u | (codes >> 1 & 0x4444u))}};
  }
  static __device__ __forceinline__ void join(const uint32_t (&set)[1], int, uint32_t w[4]) {
    const Words<1> first = levels(set[0]), second = levels(set[0] >> 16);
#pragma unroll
    for (int k = 0; k < 4; k++) w[k] = bf16_pair(byte_of(first, k, 128), byte_of(second, k, 128));
  }
};

// A scale in f16 a group.
template <class Codes>
struct GroupScales : Codes {
  using Head = Words<Codes::kGroups / 2>;
  static __device__ __forceinline__ Head head(const uint8_t* row, int, int u) {
    return load_words<Codes::kGroups / 2>(row + 2 * Codes::kGroups * u);
  }
  static __device__ __forceinline__ float scale(const Head& h, int i, int) { return half_of(h, i); }
};

// A scale and a minimum in f16 a group.
template <class Codes>
struct GroupPairs : Codes {
  static constexpr Minima kMinima = Minima::kOfGroups;
  using Head = Words<Codes::kGroups>;
  static __device__ __forceinline__ Head head(const uint8_t* row, int, int u) {
    return load_words<Codes::kGroups>(row + 4 * Codes::kGroups * u);
  }
  static __device__ __forceinline__ float scale(const Head& h, int i, int) { return half_of(h, 2 * i); }
  static __device__ __forceinline__ float minimum(const Head& h, int i, int) { return half_of(h, 2 * i + 1); }
};

// Scales that are bytes less 128 times one in f16, of 16 weights where kSixteen, else of groups.
template <class Codes, bool kSixteen>
struct ByteScales : Codes {
  static constexpr bool kHalves = kSixteen;
  static constexpr int kWords = Codes::kGroups / (kSixteen ? 2 : 4);
  struct Head {
    Words<kWords> bytes;
    float d;
  };
  static __device__ __forceinline__ Head head(const uint8_t* row, int units, int u) {
    return {load_words<kWords>(row + 4 * kWords * u), f16_at(Codes::template field<2>(row, units, u))};
  }
  static __device__ __forceinline__ float scale(const Head& h, int i, int half) {
    return h.d * byte_of(h.bytes, kSixteen ? 2 * i + half : i, 128);
  }
};

// Bytes `first` and `second` of a word, each below 128, as two bf16.
static __device__ __forceinline__ uint32_t bf16_of_pair(uint32_t word, uint32_t first, uint32_t second) {
  // 128 + byte is a bf16 whose low byte is the byte.
  return bf16_fma(__byte_perm(word, twice_bf16(128), 0x7070 | first | second << 8), twice_bf16(1), twice_bf16(-128));
}

// Q4_K and Q5_K: scales and minima of six bits (weights/q4_k.h).
template <class Codes>
struct SixBitScales : Codes {
  static constexpr Minima kMinima = Minima::kOfUnit;
  struct Head {
    Words<2> scales, minima;  // a byte a group
    float d, least;
  };
  static __device__ __forceinline__ Head head(const uint8_t* row, int, int u) {
    const Words<4> h = load_words<4>(row + 16 * u);
    const uint32_t both = h.w[3], top = 0x30303030u, low = 0x0f0f0f0fu, all = 0x3f3f3f3fu;
    return {{{h.w[1] & all, (both & low) | (h.w[1] >> 2 & top)}},
            {{h.w[2] & all, (both >> 4 & low) | (h.w[2] >> 2 & top)}},
            f16_value(h.w[0] & 0xffff),
            -f16_value(h.w[0] >> 16)};
  }
  static __device__ __forceinline__ float scale(const Head& h, int i, int) { return h.d * byte_of(h.scales, i); }
  static __device__ __forceinline__ float minimum(const Head& h, int i, int) { return h.least * byte_of(h.minima, i); }
  static __device__ __forceinline__ uint2 minima(const Head& h, int t) { return both_sums(h.minima, t); }
  static __device__ __forceinline__ uint2 scales(const Head& h, int t) { return both_sums(h.scales, t); }
  static __device__ __forceinline__ float2 factors(const Head& h) {
    return make_float2(h.least, -Codes::kExcess * h.d);
  }

 private:
  // Both sums of a group have the same.
  static __device__ __forceinline__ uint2 both_sums(const Words<2>& bytes, int t) {
    return make_uint2(bf16_of_pair(bytes.w[0], t, t), bf16_of_pair(bytes.w[1], t, t));
  }
};

// Q2_K: scales and minima are nibbles of a byte for 16 weights.
template <class Codes>
struct NibbleScales : Codes {
  static constexpr bool kHalves = true;
  static constexpr Minima kMinima = Minima::kOfUnit;
  struct Head {
    Words<4> scales, minima;
    float d, least;
  };
  static __device__ __forceinline__ Head head(const uint8_t* row, int units, int u) {
    const Words<4> both = load_words<4>(row + 16 * u);
    const uint8_t* d = Codes::template field<2>(row, units, u);
    Head h{{}, {}, f16_at(d), -f16_at(d + 2)};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      h.scales.w[i] = both.w[i] & 0x0f0f0f0fu;
      h.minima.w[i] = both.w[i] >> 4 & 0x0f0f0f0fu;
    }
    return h;
  }
  static __device__ __forceinline__ float scale(const Head& h, int i, int half) {
    return h.d * byte_of(h.scales, 2 * i + half);
  }
  static __device__ __forceinline__ float minimum(const Head& h, int i, int half) {
    return h.least * byte_of(h.minima, 2 * i + half);
  }
  static __device__ __forceinline__ uint2 minima(const Head& h, int t) { return of_sums(h.minima, t); }
  static __device__ __forceinline__ uint2 scales(const Head& h, int t) { return of_sums(h.scales, t); }
  static __device__ __forceinline__ float2 factors(const Head& h) {
    return make_float2(h.least, -Codes::kExcess * h.d);
  }

 private:
  static __device__ __forceinline__ uint2 of_sums(const Words<4>& bytes, int t) {
    const uint32_t first = t % 2 * 2, second = first + 1;
    return make_uint2(bf16_of_pair(t < 2 ? bytes.w[0] : bytes.w[1], first, second),
                      bf16_of_pair(t < 2 ? bytes.w[2] : bytes.w[3], first, second));
  }
};

template <>
struct Fragments<kQ8_0> : GroupScales<SetCodes<kQ8_0, ByteCodes>> {};
template <>
struct Fragments<kQ4_0> : GroupScales<LessCodes<kQ4_0, 8>> {};
template <>
struct Fragments<kQ4_1> : GroupPairs<LessCodes<kQ4_1, 0>> {};
template <>
struct Fragments<kQ5_0> : GroupScales<LessCodes<kQ5_0, 16>> {};
template <>
struct Fragments<kQ5_1> : GroupPairs<LessCodes<kQ5_1, 0>> {};
template <>
struct Fragments<kQ2_K> : NibbleScales<WholeCodes<kQ2_K>> {};
template <>
struct Fragments<kQ3_K> : ByteScales<LessCodes<kQ3_K, 4>, true> {};
template <>
struct Fragments<kQ4_K> : SixBitScales<WholeCodes<kQ4_K>> {};
template <>
struct Fragments<kQ5_K> : SixBitScales<WholeCodes<kQ5_K>> {};
template <>
struct Fragments<kQ6_K> : ByteScales<LessCodes<kQ6_K, 32>, true> {};
template <>
struct Fragments<kIQ4_NL> : GroupScales<SetCodes<kIQ4_NL, TableCodes>> {};
template <>
struct Fragments<kIQ4_XS> : ByteScales<SetCodes<kIQ4_XS, TableCodes>, false> {};

// The column within a group of number k of lane t.
static __device__ __forceinline__ int lane_column(int t, int k) { return pair_column(t, k / 2) + k % 2; }

// The eight weights of lane t of group j as floats, exactly.
template <DType kType>
static __device__ __forceinline__ void decode_lane(const uint8_t* row, int units, int j, int t, float out[8]) {
  using F = Fragments<kType>;
  uint32_t w[4];
  F::words_at(row, units, j, t, w);
  const auto head = F::head(row, units, j / F::kGroups);
  const int group = j % F::kGroups;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    float code = bf16_value(i % 2 ? w[i / 2] >> 16 : w[i / 2] & 0xffff);
    if constexpr (F::kMinima == Minima::kOfUnit) code -= F::kExcess;
    const float scaled = F::scale(head, group, i / 4) * code;
    if constexpr (F::kMinima == Minima::kNone)
      out[i] = scaled;
    else
      out[i] = scaled + F::minimum(head, group, i / 4);
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
