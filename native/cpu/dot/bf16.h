#include <string.h>

namespace verdant::VERDANT_ISA {
namespace {

// bf16 panels: [ceil(k / 2)][16][2], an odd k padded with zero.
struct Bf16Dot : FmaSteps {
  static constexpr int kGroup = 2, kGroups = 1;
  static constexpr int64_t kBlockBytes = 64;
  static constexpr bool kDecode = true;
  template <int J>
  static inline Vec weight(const uint8_t* block, int, Vec) {
    return J == 0 ? pair_even(block) : pair_odd(block);
  }
};

}  // namespace

// Round to nearest even; a NaN stays a NaN.
static void to_bf16_rows(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    y[i] = (uint16_t)(nan ? bits >> 16 | 0x40 : rounded);
  }
}

static void fill_bf16(KernelTable& table) {
  table.gemm[kBF16][kComputeF32] = gemm<Bf16Dot>;
  table.decode_row[kBF16] = decode_row<Bf16Dot>;
  table.to_bf16 = to_bf16_rows;
}

}  // namespace verdant::VERDANT_ISA
