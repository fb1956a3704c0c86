// Weight types in blocks, packed in panels: how bytes and scales lie for 16 rows. cpu/pack_blocks.cc writes them.
// A line is 64 bytes, 4 of each row; group g of a section is its weights 4 g to 4 g + 3. f16 and byte scales follow the
// lines of a block, one for each row.
namespace verdant::VERDANT_ISA {
namespace {

static inline Vec f16_at(const uint8_t* p) { return load_f16((const uint16_t*)p); }

// Group G of nibbles: lines [0, kLines) hold groups 0 to kLines - 1 low and the next kLines high.
template <int G, int kLines>
static inline IVec nibbles(const uint8_t* lines) {
  const IVec line = load_line(lines + 64 * (G % kLines));
  return G < kLines ? bits<0, 15>(line) : bits<-4, 15>(line);
}
// Bit G % 8 of every byte of line G / 8, moved to bit kTo.
template <int G, int kTo>
static inline IVec one_bit(const uint8_t* lines) {
  return bits<kTo - G % 8, 1 << kTo>(load_line(lines + 64 * (G / 8)));
}
// Two bits of every byte, group G at 2 (G / kLines) of line G % kLines, moved to bit kTo.
template <int G, int kLines, int kTo>
static inline IVec two_bits(const uint8_t* lines) {
  return bits<kTo - 2 * (G / kLines), 3 << kTo>(load_line(lines + 64 * (G % kLines)));
}

template <int kLines, int kF16, bool kHasMin, int kOff>
struct Block32 {
  static constexpr int kBlock = 32, kSection = 32, kSub = 32, kBias = kOff;
  static constexpr bool kWide = kOff == 128, kMin = kHasMin;
  static constexpr int64_t kSectionBytes = 64 * kLines, kBlockBytes = 64 * kLines + 32 * kF16;
  static inline Vec d(const uint8_t* block) { return f16_at(block + kSectionBytes); }
  static inline Vec min(const uint8_t* block) { return f16_at(block + kSectionBytes + 32); }
};

// w = d (u - 128)
struct Q8_0Quants : Block32<8, 1, false, 128> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return load_line(section + 64 * G);
  }
};
// w = d (u - 8)
struct Q4_0Quants : Block32<4, 1, false, 8> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return nibbles<G, 4>(section);
  }
};
// w = d u + m
struct Q4_1Quants : Block32<4, 2, true, 0> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return nibbles<G, 4>(section);
  }
};
// w = d (u - 16); the fifth bits in line 4.
struct Q5_0Quants : Block32<5, 1, false, 16> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return or_int(nibbles<G, 4>(section), one_bit<G, 4>(section + 256));
  }
};
// w = d u + m
struct Q5_1Quants : Block32<5, 2, true, 0> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return or_int(nibbles<G, 4>(section), one_bit<G, 4>(section + 256));
  }
};
// w = d table[q]; the table plus 128: 1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241.
static const uint8_t kIQ4Table[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
struct IQ4_NLQuants : Block32<4, 1, false, 128> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return lookup(nibbles<G, 4>(section), kIQ4Table);
  }
};

// Sections of 64 weights, then byte scales [sub][16 rows], then f16 [16 rows].
template <int kLines, int kSubSize, int kByteRows, int kF16, bool kHasMin, int kOff>
struct Block256 {
  static constexpr int kBlock = 256, kSection = 64, kSub = kSubSize, kBias = kOff;
  static constexpr bool kWide = kOff == 128, kMin = kHasMin;
  static constexpr int64_t kSectionBytes = 64 * kLines, kBytes = 4 * kSectionBytes;
  static constexpr int64_t kHalves = kBytes + 16 * kByteRows, kBlockBytes = kHalves + 32 * kF16;
  static inline Vec d(const uint8_t* block) { return f16_at(block + kHalves); }
  static inline Vec dmin(const uint8_t* block) { return f16_at(block + kHalves + 32); }
};

// w = d sc u - dmin m; 2 bits; a byte holds sc low and m high.
struct Q2_KQuants : Block256<4, 16, 16, 2, true, 0> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return two_bits<G, 4, 0>(section);
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_u4_low(block + kBytes + 16 * s); }
  static inline Vec sub_min(const uint8_t* block, int64_t s) { return load_u4_high(block + kBytes + 16 * s); }
};
// w = d sc (u - 4); two low bits in lines 0 to 3, the third in lines 4 and 5.
struct Q3_KQuants : Block256<6, 16, 16, 1, false, 4> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return or_int(two_bits<G, 4, 0>(section), one_bit<G, 2>(section + 256));
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_s8(block + kBytes + 16 * s); }
};
// w = d sc u - dmin m
struct Q4_KQuants : Block256<8, 32, 16, 2, true, 0> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return nibbles<G, 8>(section);
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_u8(block + kBytes + 16 * s); }
  static inline Vec sub_min(const uint8_t* block, int64_t s) { return load_u8(block + kBytes + 128 + 16 * s); }
};
// w = d sc u - dmin m; the fifth bits in lines 8 and 9.
struct Q5_KQuants : Block256<10, 32, 16, 2, true, 0> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return or_int(nibbles<G, 8>(section), one_bit<G, 4>(section + 512));
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_u8(block + kBytes + 16 * s); }
  static inline Vec sub_min(const uint8_t* block, int64_t s) { return load_u8(block + kBytes + 128 + 16 * s); }
};
// w = d sc (u - 32); the upper two bits in lines 8 to 11.
struct Q6_KQuants : Block256<12, 16, 16, 1, false, 32> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return or_int(nibbles<G, 8>(section), two_bits<G, 4, 4>(section + 512));
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_s8(block + kBytes + 16 * s); }
};
// w = d sc table[q]
struct IQ4_XSQuants : Block256<8, 32, 8, 1, false, 128> {
  template <int G>
  static inline IVec quants(const uint8_t* section) {
    return lookup(nibbles<G, 8>(section), kIQ4Table);
  }
  static inline Vec sub_scale(const uint8_t* block, int64_t s) { return load_s8(block + kBytes + 16 * s); }
};

template <class R, int J>
static inline void ready_floats(IVec u, Vec bias, Vec scale, Vec least, float* out) {
  if constexpr (J < 4) {
    Vec w = mul(scale, sub(byte_float<J>(u), bias));
    if constexpr (R::kMin) w = R::kBlock == 256 ? sub(w, least) : add(w, least);
    store(out + 16 * J, w);
    ready_floats<R, J + 1>(u, bias, scale, least, out);
  }
}
// Every weight of a block as the file's format defines it, each operation rounded to f32: out [weight][16 rows].
template <class R>
static void decode_ready(const uint8_t* block, Vec bias, float* out) {
  for (int g = 0; g < R::kBlock / 4; g++) {
    Vec scale = R::d(block), least = zero();
    if constexpr (R::kBlock == 256) {
      scale = mul(scale, R::sub_scale(block, 4 * g / R::kSub));
      if constexpr (R::kMin) least = mul(R::dmin(block), R::sub_min(block, 4 * g / R::kSub));
    } else if constexpr (R::kMin) {
      least = R::min(block);
    }
    ready_floats<R, 0>(load_line(block + 64 * g), bias, scale, least, out + 64 * g);
  }
}

// For f32 arithmetic and `embed`: as a weight type of tile.h, decoded before it is multiplied.
template <class D>
struct QuantDot : FmaSteps {
  static constexpr bool kQuants = true, kDecode = true;
  static constexpr int kGroup = 1, kGroups = D::kBlock;
  static constexpr int64_t kBlockBytes = D::kBlockBytes;
  static void decode(const uint8_t* w, int64_t steps, float* out) {
    alignas(64) uint8_t ready[Decoded<D>::kBlockBytes];
    for (int64_t k = 0; k < steps; k += D::kBlock, w += D::kBlockBytes, out += 16 * D::kBlock) {
      int8_decode<D>(w, ready);
      decode_ready<Decoded<D>>(ready, set1((float)D::kBias), out);
    }
  }
};

template <class D>
static void fill_int8(KernelTable& table, DType type) {
  table.gemm[type][D::kBlock == 32 ? kComputeInt8_32 : kComputeInt8_256] = int8_gemm<D>;
  table.aux[type] = {D::kSub, D::kBias, !D::kMin ? kNoMinima : D::kBlock == 32 ? kScaledMinima : kPlainMinima};
}
template <class D>
static void fill_f32(KernelTable& table, DType type) {
  table.gemm[type][kComputeF32] = gemm<QuantDot<D>>;
  table.decode_row[type] = decode_row<QuantDot<D>>;
}
// Which entries to fill: int8 and f32.
template <bool kInt8, bool kFloat>
struct Fill {
  template <class D>
  static void type(KernelTable& table, DType type) {
    if constexpr (kInt8) fill_int8<D>(table, type);
    if constexpr (kFloat) fill_f32<D>(table, type);
  }
};

// The types in blocks. A new one: its struct above and one line here.
template <class F>
static void fill_quants(KernelTable& table) {
  F::template type<Q8_0Quants>(table, kQ8_0);
  F::template type<Q4_0Quants>(table, kQ4_0);
  F::template type<Q4_1Quants>(table, kQ4_1);
  F::template type<Q5_0Quants>(table, kQ5_0);
  F::template type<Q5_1Quants>(table, kQ5_1);
  F::template type<IQ4_NLQuants>(table, kIQ4_NL);
  F::template type<Q2_KQuants>(table, kQ2_K);
  F::template type<Q3_KQuants>(table, kQ3_K);
  F::template type<Q4_KQuants>(table, kQ4_K);
  F::template type<Q5_KQuants>(table, kQ5_K);
  F::template type<Q6_KQuants>(table, kQ6_K);
  F::template type<IQ4_XSQuants>(table, kIQ4_XS);
}

}  // namespace
}  // namespace verdant::VERDANT_ISA
