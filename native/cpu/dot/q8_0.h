namespace verdant::VERDANT_ISA {
namespace {

// q8_0 panels, per block of 32 k: 8 lines [16 rows][4 k] of signed bytes, then 16 f16 scales. w = d q, exact in f32.
struct Q8_0Dot : FmaSteps {
  static constexpr int kGroup = 4, kGroups = 8;
  static constexpr int64_t kBlockBytes = 8 * 64 + 32;
  static constexpr bool kDecode = true;
  static inline Vec scale(const uint8_t* block) { return load_f16((const uint16_t*)(block + 8 * 64)); }
  template <int J>
  static inline Vec weight(const uint8_t* block, int g, Vec d) {
    return mul(d, signed_byte<J>(block + 64 * g));
  }
};

}  // namespace

static void fill_q8_0(KernelTable& table) {
  table.gemm[kQ8_0][kComputeF32] = gemm<Q8_0Dot>;
  table.decode_row[kQ8_0] = decode_row<Q8_0Dot>;
}

}  // namespace verdant::VERDANT_ISA
