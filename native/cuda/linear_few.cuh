// Few rows of x with weights on tensor cores: warps are slices, and weights go from memory to registers.
#pragma once
#include "cuda/copies.cuh"
#include "cuda/linear_mma.cuh"

namespace verdant::cuda {

// Rows g and g + 8 of 16 rows of w.
struct FewWeights {
  const uint8_t* row[2];
};
static __device__ __forceinline__ FewWeights few_weights(const SegmentArgs& s, int begin, int count) {
  const auto row = [&](int i) { return weight_row(s, begin + (i < count ? i : count - 1)); };
  const int g = warp_lane() / 4;
  return {{row(g), row(g + 8)}};
}

// Brings the first 256 bytes of the 16 rows' codes, within the slice of columns of a warp, to the L2 cache: while the
// kernel waits, where it does.
template <DType kType>
static __device__ __forceinline__ void call_weights([[maybe_unused]] const SegmentArgs& s,
                                                    [[maybe_unused]] const FewWeights& w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kField = has_scales(kType) ? 1 : 0, kBytes = unit_layout(kType).bytes[kField], kLine = 128;
  const int at = warp_index() * s.slice * kBytes + warp_lane() / 2 % 2 * kLine;
  const uint8_t* codes = UnitFields<kType>::template field<kField>(w.row[warp_lane() % 2], s.units, 0);
  if (at < s.units * kBytes) call_line(codes + at);
#endif
}

// A unit of rows g and g + 8 of w, as lane t holds it.
template <DType kType>
struct FewUnit {
  using F = Fragments<kType>;
  typename F::Codes codes[2];
  typename F::Head heads[2];
};
template <DType kType>
static __device__ __forceinline__ FewUnit<kType> few_unit(const FewWeights& w, int units, int u, int t) {
  using F = Fragments<kType>;
  return {{F::codes(w.row[0], units, u, t), F::codes(w.row[1], units, u, t)},
          {F::head(w.row[0], units, u), F::head(w.row[1], units, u)}};
}

// acc of each matrix, (16 rows of w, 8 kTiles rows of x), over the slice of columns of a warp. All matrices are of the
// size of `s`; x_row(i): the row of x that is row i.
template <DType kType, int kTiles, int kMatrices, class Rows>
static __device__ __forceinline__ void few_slice(const SegmentArgs& s, const FewWeights (&w)[kMatrices],
                                                 const RoundedRows& r, const Rows& x_row,
                                                 float (&acc)[kMatrices][kTiles][4]) {
  using F = Fragments<kType>;
  constexpr int kGroups = F::kGroups;
  [[maybe_unused]] constexpr int kUnroll = kGroups > 1 ? 1 : 4 / kMatrices;
  constexpr bool kWhole = kGroups == 1 || kGroups == 8;  // whether no unit ends behind the columns
  const int lane = warp_lane(), g = lane / 4, t = lane % 4;
  const uint4* x[kTiles];
  [[maybe_unused]] const uint4* parts[kTiles];
  [[maybe_unused]] const float2* sums[kTiles][2];
#pragma unroll
  for (int n = 0; n < kTiles; n++) {
    const int64_t row = x_row(8 * n + g);
    x[n] = r.x + row * r.groups * 4 + t;
    if constexpr (F::kMinima == Minima::kOfUnit) parts[n] = unit_parts(r, row, 0, t);
    if constexpr (F::kMinima == Minima::kOfGroups)
      for (int c = 0; c < 2; c++)
        sums[n][c] = reinterpret_cast<const float2*>(r.sums) + x_row(8 * n + 2 * t + c) * r.groups;
  }
  const int groups = static_cast<int>(r.groups), begin = warp_index() * s.slice;
  const int end = begin + s.slice < s.units ? begin + s.slice : s.units;
#pragma unroll kUnroll
  for (int u = begin; u < end; u++) {
    FewUnit<kType> unit[kMatrices];
#pragma unroll
    for (int m = 0; m < kMatrices; m++) unit[m] = few_unit<kType>(w[m], s.units, u, t);
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
      const int j = u * kGroups + i;
      if (!kWhole && i > 0 && j >= groups) break;
      uint32_t words[kMatrices][2][4];
      RowScales k[kMatrices];
#pragma unroll
      for (int m = 0; m < kMatrices; m++) {
        for (int row = 0; row < 2; row++) F::words(unit[m].codes[row], i, words[m][row]);
        k[m] = row_scales<kType>(unit[m].heads, i);
      }
#pragma unroll
      for (int n = 0; n < kTiles; n++) {
        const uint4 own = x[n][4 * j];
        float2 both[2] = {};
        if constexpr (F::kMinima == Minima::kOfGroups)
          for (int c = 0; c < 2; c++) both[c] = sums[n][c][j];
#pragma unroll
        for (int m = 0; m < kMatrices; m++) group_step<kType>(acc[m][n], words[m], own, k[m], both);
      }
    }
    if constexpr (F::kMinima == Minima::kOfUnit) {
      UnitTerms terms[kMatrices];
#pragma unroll
      for (int m = 0; m < kMatrices; m++)
#pragma unroll
        for (int row = 0; row < 2; row++) {
          terms[m].minima[row] = F::minima(unit[m].heads[row], t);
          terms[m].scales[row] = F::scales(unit[m].heads[row], t);
          terms[m].factors[row] = F::factors(unit[m].heads[row]);
        }
#pragma unroll
      for (int n = 0; n < kTiles; n++) {
        const LaneParts own = lane_parts(parts[n] + kPartsOfUnit / 8 * u);
#pragma unroll
        for (int m = 0; m < kMatrices; m++) unit_step(acc[m][n], terms[m], own);
      }
    }
  }
}

// What the warps of a block found: (slice, row of x, row of w).
template <int kTiles>
using FewSums = float[kSlices][8 * kTiles][16];

template <int kTiles>
static __device__ __forceinline__ void store_sums(const float (&acc)[kTiles][4], FewSums<kTiles>& sums) {
  const int g = warp_lane() / 4, t = warp_lane() % 4;
#pragma unroll
  for (int n = 0; n < kTiles; n++)
    for (int i = 0; i < 4; i++) sums[warp_index()][8 * n + 2 * t + i % 2][g + i / 2 * 8] = acc[n][i];
}
template <int kTiles>
static __device__ __forceinline__ float sum_slices(const FewSums<kTiles>& sums, int row, int column, int slices) {
  float total = sums[0][row][column];
  for (int w = 1; w < slices; w++) total += sums[w][row][column];
  return total;
}

// Few rows of x: 16 rows of w by 8 kTiles rows of x. Warps are slices, whose sums meet in shared memory.
template <DType kType, int kTiles>
static __global__ void __launch_bounds__(kLinearThreads, kTiles == 1 ? 3 : 1)
    linear_few_kernel(const __grid_constant__ SegmentList list, RowSource source, RoundedRows r) {
  __shared__ FewSums<kTiles> sums;
  uint32_t block;
  const SegmentArgs& s = own_segment(list, block);
  if (source.tiles != nullptr) wait_for_predecessors();
  const BlockRows b = block_rows(s, source, block, 8 * kTiles, 16);
  const FewWeights w[1] = {few_weights(s, b.w_begin, b.w_count)};
  if (source.tiles == nullptr) {
    call_weights<kType>(s, w[0]);
    wait_for_predecessors();
  }
  if (b.count <= 0) return;
  float acc[1][kTiles][4] = {};
  few_slice<kType, kTiles>(
      s, w, r, [&](int i) { return source_row(source, b.first + (i < b.count ? i : b.count - 1)); }, acc);
  store_sums<kTiles>(acc[0], sums);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 16 * 8 * kTiles; i += kLinearThreads) {
    const int row = i / 16, column = i % 16;
    if (row >= b.count || column >= b.w_count) continue;
    float total = sum_slices<kTiles>(sums, row, column, s.slices);
    if (s.bias != nullptr) total += s.bias[b.y_column + column];
    s.y[int64_t{b.first + row} * s.y_stride + b.y_column + column] = total;
  }
}

}  // namespace verdant::cuda
