namespace verdant::VERDANT_ISA {
namespace {

// q4_0 panels, per block of 32 k: 4 lines [16 rows][4 bytes], then 16 f16 scales. The low nibbles of line g are group g
// (k = 4 g to 4 g + 3), its high nibbles are group g + 4. w = d (q - 8), exact in f32.
struct Q4_0Dot : FmaSteps {
  static constexpr int kGroup = 4, kGroups = 8;
  static constexpr int64_t kBlockBytes = 4 * 64 + 32;
  static constexpr bool kDecode = true;
  static inline Vec scale(const uint8_t* block) { return load_f16((const uint16_t*)(block + 4 * 64)); }
  template <int J>
  static inline Vec weight(const uint8_t* block, int g, Vec d) {
    const uint8_t* line = block + 64 * (g & 3);
    const Vec q = g < 4 ? nibble<2 * J>(line) : nibble<2 * J + 1>(line);
    return mul(d, sub(q, set1(8.0f)));
  }
};

}  // namespace

static void fill_q4_0(KernelTable& table) {
  table.gemm[kQ4_0][kComputeF32] = gemm<Q4_0Dot>;
  table.decode_row[kQ4_0] = decode_row<Q4_0Dot>;
}

}  // namespace verdant::VERDANT_ISA
