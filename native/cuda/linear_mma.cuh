// Linear on tensor cores: x rounded to bf16, weights as bf16 (exact codes of block types, whose scales act on sums of
// 32 or 16 products), sums in f32. One chain per element and slice whatever the number of rows: linear_few.cuh,
// linear_many.cuh and linear_hopper.cuh give the same bits.
#pragma once
#include "cuda/fragments.cuh"
#include "cuda/linear_args.cuh"

namespace verdant::cuda {

// Of two rows of w, g and g + 8, in one group: scales and minima of all 32 weights or of each 16.
struct RowScales {
  float s[2][2], m[2][2];  // (row, half)
};
template <DType kType>
static __device__ __forceinline__ RowScales row_scales(const typename Fragments<kType>::Head (&heads)[2], int group) {
  using F = Fragments<kType>;
  RowScales k{};
  if constexpr (has_scales(kType)) {
#pragma unroll
    for (int row = 0; row < 2; row++)
#pragma unroll
      for (int half = 0; half < (F::kHalves ? 2 : 1); half++) {
        k.s[row][half] = F::scale(heads[row], group, half);
        if constexpr (F::kMinima == Minima::kOfGroups) k.m[row][half] = F::minimum(heads[row], group, half);
      }
  }
  return k;
}

// acc (16 rows of w, 8 rows of x) += scaled sums of products. Lanes hold rows 2 t and 2 t + 1 of x.
static __device__ __forceinline__ void scale_add(float acc[4], const float part[4], const RowScales& k, int half) {
#pragma unroll
  for (int i = 0; i < 4; i++) acc[i] = fmaf(k.s[i / 2][half], part[i], acc[i]);
}

// acc (16 rows of w, 8 rows of x) += one group. w: codes of rows g and g + 8; x: of row g of x; sums (kOfGroups only):
// of the group, of rows 2 t and 2 t + 1 of x.
template <DType kType>
static __device__ __forceinline__ void group_step(float acc[4], const uint32_t (&w)[2][4], uint4 x, const RowScales& k,
                                                  const float2 (&sums)[2]) {
  using F = Fragments<kType>;
  const uint32_t first[4] = {w[0][0], w[1][0], w[0][1], w[1][1]}, second[4] = {w[0][2], w[1][2], w[0][3], w[1][3]};
  if constexpr (!has_scales(kType)) {
    mma(acc, first, x.x, x.y);
    mma(acc, second, x.z, x.w);
    return;
  }
  float part[4] = {0.0f, 0.0f, 0.0f, 0.0f}, rest[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  mma(part, first, x.x, x.y);
  mma(F::kHalves ? rest : part, second, x.z, x.w);
  scale_add(acc, part, k, 0);
  if constexpr (F::kHalves) scale_add(acc, rest, k, 1);
  if constexpr (F::kMinima == Minima::kOfGroups)
#pragma unroll
    for (int i = 0; i < 4; i++) acc[i] = fmaf(k.m[i / 2][0], sums[i % 2].x + sums[i % 2].y, acc[i]);
}

// What lane t of a row of x has of the parts of a unit's sums.
struct LaneParts {
  uint4 high_middle;
  uint2 low;
};
static __device__ __forceinline__ const uint4* unit_parts(const RoundedRows& r, int64_t row, int unit, int t) {
  return r.parts + ((row * ((r.groups + 7) / 8) + unit) * 4 + t) * 2;
}
static __device__ __forceinline__ LaneParts lane_parts(const uint4* at) {
  return {at[0], *reinterpret_cast<const uint2*>(at + 1)};
}

// What a unit of rows g and g + 8 of w adds by sums of x, as Fragments gives it.
struct UnitTerms {
  uint2 minima[2], scales[2];
  float2 factors[2];
};

// acc += that of a unit. x: of row g of x.
static __device__ __forceinline__ void unit_step(float acc[4], const UnitTerms& k, const LaneParts& x) {
  const auto add = [&](const uint2(&whole)[2], float first, float second) {
    const uint32_t a[4] = {whole[0].x, whole[1].x, whole[0].y, whole[1].y};
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    mma(sum, a, x.high_middle.x, x.high_middle.y);
    mma(sum, a, x.high_middle.z, x.high_middle.w);
    mma(sum, a, x.low.x, x.low.y);
#pragma unroll
    for (int i = 0; i < 4; i++) acc[i] = fmaf(i < 2 ? first : second, sum[i], acc[i]);
  };
  add(k.minima, k.factors[0].x, k.factors[1].x);
  add(k.scales, k.factors[0].y, k.factors[1].y);
}

static __device__ __forceinline__ int64_t source_row(const RowSource& source, int i) {
  return source.list ? source.list[i] : i;
}

}  // namespace verdant::cuda
