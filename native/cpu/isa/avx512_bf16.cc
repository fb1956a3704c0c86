// The overlay for AVX512_BF16. Sealed: this file sees C headers and our kernel headers only.
// vdpbf16ps adds two products per step with its own rounding and treats denormals as zero: results of compute bf16 are
// equal for every number of rows, but another class than f32.
#include <string.h>

#include "cpu/isa/vec_avx512.h"

#define VERDANT_ISA avx512
#include "cpu/dot/tile.h"
#include "cpu/overlays.h"

namespace verdant::avx512 {
namespace {

// A step is a pair of k: x two bf16, the panel [16][2].
struct Bf16PairDot {
  static constexpr bool kQuants = false;
  using X = uint16_t;
  static constexpr int kX = 2;
  static constexpr int kGroup = 1, kGroups = 1;
  static constexpr int64_t kBlockBytes = 64;
  static constexpr bool kDecode = false;
  static inline Vec broadcast(const uint16_t* x) {
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return {_mm512_castsi512_ps(_mm512_set1_epi32(pair))};
  }
  static inline Vec mac(Vec x, Vec w, Vec sum) { return {_mm512_dpbf16_ps(sum.v, (__m512bh)w.v, (__m512bh)x.v)}; }
  static inline Vec scale(const uint8_t*) { return zero(); }
  template <int J>
  static inline Vec weight(const uint8_t* block, int, Vec) {
    return load((const float*)block);
  }
};

void to_bf16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(load_n(x + i, n - i).v);
    _mm256_mask_storeu_epi16(y + i, first(n - i).m, (__m256i)rounded);
  }
}

}  // namespace
}  // namespace verdant::avx512

namespace verdant {

void overlay_avx512_bf16(KernelTable& table) {
  table.gemm[kBF16][kComputeBF16] = avx512::gemm<avx512::Bf16PairDot>;
  table.to_bf16 = avx512::to_bf16;
}

}  // namespace verdant
