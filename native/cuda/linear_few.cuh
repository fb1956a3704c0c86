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

// Blocks that a multiprocessor can hold, and more.
constexpr int32_t kEarlyBlocks = 4;

// Brings the first 512 bytes of the 16 rows' codes, within the slice of columns of a warp, to the L2 cache: while the
// kernel waits, where it does.
template <DType kType>
static __device__ __forceinline__ void call_weights([[maybe_unused]] const SegmentArgs& s,
                                                    [[maybe_unused]] const FewWeights& w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kField = has_scales(kType) ? 1 : 0, kBytes = unit_layout(kType).bytes[kField], kLine = 128;
  const uint8_t* codes = UnitFields<kType>::template field<kField>(w.row[warp_lane() % 2], s.units, 0);
  const int begin = warp_index() * s.slice, end = begin + s.slice < s.units ? begin + s.slice : s.units;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int at = begin * kBytes + (2 * i + warp_lane() / 2 % 2) * kLine;
    if (at < end * kBytes) call_line(codes + at);
  }
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

// Where a lane finds its rows of x, of 8 kTiles: row g of each eight, sums of rows 2 t and 2 t + 1 (kOfGroups only),
// and parts of row g (kOfUnit only).
template <int kTiles>
struct FewRows {
  const uint4 *x[kTiles], *parts[kTiles];
  const float2* sums[kTiles][2];
  int groups;
};
template <DType kType, int kTiles, class Rows>
static __device__ __forceinline__ FewRows<kTiles> few_rows(const RoundedRows& r, const Rows& x_row) {
  constexpr Minima kMinima = Fragments<kType>::kMinima;
  const int g = warp_lane() / 4, t = warp_lane() % 4;
  FewRows<kTiles> out;
#pragma unroll
  for (int n = 0; n < kTiles; n++) {
    const int64_t row = x_row(8 * n + g);
    out.x[n] = r.x + row * r.groups * 4 + t;
    if constexpr (kMinima == Minima::kOfUnit) out.parts[n] = unit_parts(r, row, 0, t);
    if constexpr (kMinima == Minima::kOfGroups)
      for (int c = 0; c < 2; c++)
        out.sums[n][c] = reinterpret_cast<const float2*>(r.sums) + x_row(8 * n + 2 * t + c) * r.groups;
  }
  out.groups = static_cast<int>(r.groups);
  return out;
}

// acc (16 rows of w, 8 kTiles rows of x) += unit u.
template <DType kType, int kTiles>
static __device__ __forceinline__ void few_unit_step(float (&acc)[kTiles][4], const FewUnit<kType>& unit, int u,
                                                     const FewRows<kTiles>& rows) {
  using F = Fragments<kType>;
  constexpr bool kWhole = F::kGroups == 1 || F::kGroups == 8;  // whether no unit ends behind the columns
#pragma unroll
  for (int i = 0; i < F::kGroups; i++) {
    const int j = u * F::kGroups + i;
    if (!kWhole && i > 0 && j >= rows.groups) break;
    uint32_t words[2][4];
    for (int row = 0; row < 2; row++) F::words(unit.codes[row], i, words[row]);
    const RowScales k = row_scales<kType>(unit.heads, i);
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
      float2 sums[2] = {};
      if constexpr (F::kMinima == Minima::kOfGroups)
        for (int c = 0; c < 2; c++) sums[c] = rows.sums[n][c][j];
      const uint4 x = rows.x[n][4 * j];  // one load
      group_step<kType>(acc[n], words, x, k, sums);
    }
  }
  if constexpr (F::kMinima == Minima::kOfUnit) {
    const int t = warp_lane() % 4;
    UnitTerms terms;
#pragma unroll
    for (int row = 0; row < 2; row++) {
      terms.minima[row] = F::minima(unit.heads[row], t);
      terms.scales[row] = F::scales(unit.heads[row], t);
      terms.factors[row] = F::factors(unit.heads[row]);
    }
#pragma unroll
    for (int n = 0; n < kTiles; n++) unit_step(acc[n], terms, lane_parts(rows.parts[n] + kPartsOfUnit / 8 * u));
  }
}

// acc of each matrix, (16 rows of w, 8 kTiles rows of x), over the slice of columns of a warp. All matrices are of the
// size of `s`; x_row(i): the row of x that is row i.
template <DType kType, int kTiles, int kMatrices, class Rows>
static __device__ __forceinline__ void few_slice(const SegmentArgs& s, const FewWeights (&w)[kMatrices],
                                                 const RoundedRows& r, const Rows& x_row,
                                                 float (&acc)[kMatrices][kTiles][4]) {
  [[maybe_unused]] constexpr int kGroups = Fragments<kType>::kGroups, kUnroll = kGroups > 1 ? 1 : 4 / kMatrices;
  const FewRows<kTiles> rows = few_rows<kType, kTiles>(r, x_row);
  const int t = warp_lane() % 4, begin = warp_index() * s.slice;
  const int end = begin + s.slice < s.units ? begin + s.slice : s.units;
  if constexpr (kTiles * kGroups <= 8) {
#pragma unroll kUnroll
    for (int u = begin; u < end; u++) {
      FewUnit<kType> unit[kMatrices];
#pragma unroll
      for (int m = 0; m < kMatrices; m++) unit[m] = few_unit<kType>(w[m], s.units, u, t);
#pragma unroll
      for (int m = 0; m < kMatrices; m++) few_unit_step<kType, kTiles>(acc[m], unit[m], u, rows);
    }
  } else {  // registers do not hold units of several matrices
#pragma unroll
    for (int m = 0; m < kMatrices; m++)
#pragma unroll 1
      for (int u = begin; u < end; u++)
        few_unit_step<kType, kTiles>(acc[m], few_unit<kType>(w[m], s.units, u, t), u, rows);
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
static __global__ void __launch_bounds__(kLinearThreads, kTiles == 1 ? 3 : 2)
    linear_few_kernel(const __grid_constant__ SegmentList list, RowSource source, RoundedRows r) {
  __shared__ FewSums<kTiles> sums;
  uint32_t block;
  const SegmentArgs& s = own_segment(list, block);
  if (source.tiles != nullptr) wait_for_predecessors();
  const BlockRows b = block_rows(s, source, block, 8 * kTiles, 16);
  const FewWeights w[1] = {few_weights(s, b.w_begin, b.w_count)};
  if (source.tiles == nullptr) {
    if (blockIdx.x < list.early) call_weights<kType>(s, w[0]);
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
