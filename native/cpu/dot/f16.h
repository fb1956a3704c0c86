namespace verdant::VERDANT_ISA {
namespace {

// f16 panels: [k][16].
struct F16Dot : FmaSteps {
  static constexpr int kGroup = 1, kGroups = 1;
  static constexpr int64_t kBlockBytes = 32;
  static constexpr bool kDecode = true;
  template <int J>
  static inline Vec weight(const uint8_t* block, int, Vec) {
    return load_f16((const uint16_t*)block);
  }
};

}  // namespace

static void fill_f16(KernelTable& table) {
  table.gemm[kF16][kComputeF32] = gemm<F16Dot>;
  table.decode_row[kF16] = decode_row<F16Dot>;
}

}  // namespace verdant::VERDANT_ISA
