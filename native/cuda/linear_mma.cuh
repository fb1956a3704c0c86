// Linear on tensor cores: x rounded to bf16, weights as bf16 (exact codes of block types, whose scales act on sums of
// 32 or 16 products), sums in f32. One chain per element and slice whatever the number of rows: both kernels below give
// the same bits, and those of linear_hopper.cuh.
#pragma once
#include "cuda/copies.cuh"
#include "cuda/fragments.cuh"
#include "cuda/linear_args.cuh"

namespace verdant::cuda {

template <>
struct Fragments<kBF16> {
  static constexpr Deal kDeal = Deal::kFours;
  static constexpr bool kHalves = false, kMinima = false;
};

constexpr bool has_scales(DType type) { return type != kBF16; }

// Codes of lane t of group j; zeros past the columns of a row of single numbers (which is padded to 16 bytes).
template <DType kType>
static __device__ __forceinline__ uint4 load_codes(const SegmentArgs& s, const uint8_t* row, int64_t j, int t) {
  if constexpr (kType == kBF16) {
    const int64_t column = j * kGroup + 4 * t;
    const uint2 none = make_uint2(0, 0);
    const uint2 first = column < s.cols ? words_at(row + 2 * column) : none;
    const uint2 second = column + kGroup / 2 < s.cols ? words_at(row + 2 * column + kGroup) : none;
    return make_uint4(first.x, first.y, second.x, second.y);
  } else {
    uint32_t w[4];
    Fragments<kType>::load(row, s.blocks, j, t, w);
    return make_uint4(w[0], w[1], w[2], w[3]);
  }
}

// Scales of the two rows of w of a lane, and the sums of x of its two rows of x (minima only).
struct TileScales {
  GroupScale low, high;  // rows g and g + 8
  float2 sum[2];         // sums of weights 0 .. 15 and 16 .. 31 of rows 2 t and 2 t + 1 of x
};

template <DType kType>
static __device__ __forceinline__ void scale_add(float acc[4], const float part[4], const TileScales& k, int half,
                                                 bool whole) {
  const float s[2] = {k.low.s[half], k.high.s[half]}, m[2] = {k.low.m[half], k.high.m[half]};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    acc[i] = fmaf(s[i / 2], part[i], acc[i]);
    if constexpr (Fragments<kType>::kMinima) {
      const float2 sums = k.sum[i % 2];
      acc[i] = fmaf(m[i / 2], whole ? sums.x + sums.y : half == 0 ? sums.x : sums.y, acc[i]);
    }
  }
}

// acc (16 rows of w, 8 rows of x) += one group. low, high: codes of rows g and g + 8; x: of row g of x.
template <DType kType>
static __device__ __forceinline__ void group_step(float acc[4], const uint4& low, const uint4& high, const uint4& x,
                                                  const TileScales& k) {
  const uint32_t first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
  if constexpr (!has_scales(kType)) {
    mma(acc, first, x.x, x.y);
    mma(acc, second, x.z, x.w);
  } else if constexpr (Fragments<kType>::kHalves) {
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f}, rest[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    mma(part, first, x.x, x.y);
    mma(rest, second, x.z, x.w);
    scale_add<kType>(acc, part, k, 0, false);
    scale_add<kType>(acc, rest, k, 1, false);
  } else {
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    mma(part, first, x.x, x.y);
    mma(part, second, x.z, x.w);
    scale_add<kType>(acc, part, k, 0, true);
  }
}

static __device__ __forceinline__ int64_t source_row(const RowSource& source, int64_t i) {
  return source.list ? source.list[i] : i;
}

// Rows g and g + 8 of 16 rows of w.
struct FewWeights {
  const uint8_t *low, *high;
};
static __device__ __forceinline__ FewWeights few_weights(const SegmentArgs& s, int64_t begin, int64_t count) {
  const auto row = [&](int64_t i) { return s.data + (begin + (i < count ? i : count - 1)) * s.row_bytes; };
  const int g = warp_lane() / 4;
  return {row(g), row(g + 8)};
}

// Brings the first 256 bytes of each field of the 16 rows, within the slice of columns of a warp, to the L2 cache:
// while the kernel waits, where it does.
template <DType kType>
static __device__ __forceinline__ void call_weights([[maybe_unused]] const SegmentArgs& s,
                                                    [[maybe_unused]] const FewWeights& w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr BlockLayout kLayout = block_layout(kType);
  constexpr int kLine = 128;
  const int64_t per = slice_groups(s.cols) * kGroup, begin = warp_index() * per;
  const int64_t end = begin + per < s.cols ? begin + per : s.cols;
  const uint8_t* row = warp_lane() % 4 < 2 ? w.low : w.high;
#pragma unroll
  for (int f = 0; f < kMaxFields; f++) {
    const int64_t at = begin * kLayout.bytes[f] / kLayout.block + warp_lane() % 2 * kLine;
    if (at < end * kLayout.bytes[f] / kLayout.block) call_line(row + field_offset(kLayout, f, s.blocks) + at);
  }
#endif
}

// acc of each matrix, (16 rows of w, 8 kTiles rows of x), over the slice of columns of a warp. All matrices are of the
// size of `s`; x_row(i): the row of x that is row i.
template <DType kType, int kTiles, int kMatrices, class Rows>
static __device__ __forceinline__ void few_slice(const SegmentArgs& s, const FewWeights (&w)[kMatrices],
                                                 const RoundedRows& r, const Rows& x_row,
                                                 float (&acc)[kMatrices][kTiles][4]) {
  const int warp = warp_index(), lane = warp_lane(), g = lane / 4, t = lane % 4;
  const uint4* x[kTiles];
  const float *sum_even[kTiles], *sum_odd[kTiles];
#pragma unroll
  for (int n = 0; n < kTiles; n++) {
    x[n] = r.x + x_row(8 * n + g) * r.groups * 4 + t;
    sum_even[n] = r.sums + x_row(8 * n + 2 * t) * r.groups * 2;
    sum_odd[n] = r.sums + x_row(8 * n + 2 * t + 1) * r.groups * 2;
  }
  const int64_t per = slice_groups(s.cols), end = (warp + 1) * per < r.groups ? (warp + 1) * per : r.groups;
#pragma unroll 4 / kMatrices
  for (int64_t j = warp * per; j < end; j++) {
    uint4 low[kMatrices], high[kMatrices];
    TileScales k[kMatrices] = {};
#pragma unroll
    for (int m = 0; m < kMatrices; m++) {
      low[m] = load_codes<kType>(s, w[m].low, j, t);
      high[m] = load_codes<kType>(s, w[m].high, j, t);
      if constexpr (has_scales(kType)) {
        k[m].low = Fragments<kType>::scale(w[m].low, s.blocks, j);
        k[m].high = Fragments<kType>::scale(w[m].high, s.blocks, j);
      }
    }
#pragma unroll
    for (int n = 0; n < kTiles; n++) {
      const uint4 own = x[n][4 * j];
#pragma unroll
      for (int m = 0; m < kMatrices; m++) {
        if constexpr (Fragments<kType>::kMinima) {
          k[m].sum[0] = *reinterpret_cast<const float2*>(sum_even[n] + 2 * j);
          k[m].sum[1] = *reinterpret_cast<const float2*>(sum_odd[n] + 2 * j);
        }
        group_step<kType>(acc[m][n], low[m], high[m], own, k[m]);
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
static __device__ __forceinline__ float sum_slices(const FewSums<kTiles>& sums, int row, int column, int64_t cols) {
  const int64_t per = slice_groups(cols), groups = (cols + kGroup - 1) / kGroup;
  float total = sums[0][row][column];
  for (int w = 1; w < kSlices && w * per < groups; w++) total += sums[w][row][column];
  return total;
}

// Few rows of x: 16 rows of w by 8 kTiles rows of x. Warps are slices, whose sums meet in shared memory.
template <DType kType, int kTiles>
static __global__ void __launch_bounds__(kLinearThreads)
    linear_few_kernel(const __grid_constant__ SegmentList list, RowSource source, RoundedRows r) {
  __shared__ FewSums<kTiles> sums;
  int64_t block;
  const SegmentArgs& s = own_segment(list, block);
  if (source.tiles == nullptr) {
    const BlockRows b = block_rows(s, source, block, 8 * kTiles, 16);
    call_weights<kType>(s, few_weights(s, b.w_begin, b.w_count));
  }
  wait_for_predecessors();
  const BlockRows b = block_rows(s, source, block, 8 * kTiles, 16);
  if (b.count <= 0) return;
  const FewWeights w[1] = {few_weights(s, b.w_begin, b.w_count)};
  float acc[1][kTiles][4] = {};
  few_slice<kType, kTiles>(
      s, w, r, [&](int64_t i) { return source_row(source, b.first + (i < b.count ? i : b.count - 1)); }, acc);
  store_sums<kTiles>(acc[0], sums);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 16 * 8 * kTiles; i += kLinearThreads) {
    const int row = i / 16, column = i % 16;
    if (row >= b.count || column >= b.w_count) continue;
    float total = sum_slices<kTiles>(sums, row, column, s.cols);
    if (s.bias != nullptr) total += s.bias[b.y_column + column];
    s.y[(b.first + row) * s.y_stride + b.y_column + column] = total;
  }
}

constexpr int kManyRows = 128;  // of w and of x, of a block of threads
constexpr int kManyThreads = 512;
constexpr int kWarpRows = 32, kWarpColumns = 32, kColumnTiles = kWarpColumns / 8;

// One group of 128 rows of w and of x, as both lie in shared memory.
struct ManyStage {
  uint4 w[kManyRows][4], x[kManyRows][4];
  GroupScale scales[kManyRows];
  float2 sums[kManyRows];
};

// What a thread carries from device memory to a stage.
struct ManyLoad {
  uint4 w, x;
  GroupScale scale;
  float2 sum;
};

template <DType kType>
static __device__ __forceinline__ void load_stage(const SegmentArgs& s, const BlockRows& b, const RowSource& source,
                                                  const RoundedRows& r, int64_t j, ManyLoad& l) {
  const int thread = static_cast<int>(threadIdx.x), quarter = thread / 4;
  const auto w_row = [&](int row) {
    return s.data + (b.w_begin + (row < b.w_count ? row : b.w_count - 1)) * s.row_bytes;
  };
  const auto x_row = [&](int row) { return source_row(source, b.first + (row < b.count ? row : b.count - 1)); };
  l.w = load_codes<kType>(s, w_row(quarter), j, thread % 4);
  l.x = r.x[(x_row(quarter) * r.groups + j) * 4 + thread % 4];
  if constexpr (has_scales(kType)) {
    if (thread < kManyRows)
      l.scale = Fragments<kType>::scale(w_row(thread), s.blocks, j);
    else if (Fragments<kType>::kMinima && thread < 2 * kManyRows)
      l.sum = *reinterpret_cast<const float2*>(r.sums + (x_row(thread - kManyRows) * r.groups + j) * 2);
  }
}

template <DType kType>
static __device__ __forceinline__ void store_stage(const ManyLoad& l, ManyStage& stage) {
  const int thread = static_cast<int>(threadIdx.x);
  stage.w[thread / 4][thread % 4] = l.w;
  stage.x[thread / 4][thread % 4] = l.x;
  if constexpr (has_scales(kType)) {
    if (thread < kManyRows)
      stage.scales[thread] = l.scale;
    else if (thread < 2 * kManyRows)
      stage.sums[thread - kManyRows] = l.sum;
  }
}

// Many rows of x: 128 rows of w by 128 of x; warps take 32 by 32 of them. Slices one after the other.
template <DType kType>
static __global__ void __launch_bounds__(kManyThreads, 1)
    linear_many_kernel(const __grid_constant__ SegmentList list, RowSource source, RoundedRows r) {
  wait_for_predecessors();
  VERDANT_DYNAMIC_SHARED(shared);
  auto* stages = reinterpret_cast<ManyStage*>(shared);
  int64_t block;
  const SegmentArgs& s = own_segment(list, block);
  const BlockRows b = block_rows(s, source, block, kManyRows, kManyRows);
  if (b.count <= 0) return;
  const int lane = warp_lane(), g = lane / 4, t = lane % 4;
  const int w_at = warp_index() / 4 * kWarpRows, x_at = warp_index() % 4 * kWarpColumns;
  const int64_t per = slice_groups(s.cols);
  float acc[2][kColumnTiles][4] = {}, total[2][kColumnTiles][4] = {};
  ManyLoad next{};
  load_stage<kType>(s, b, source, r, 0, next);
  store_stage<kType>(next, stages[0]);
  __syncthreads();
  int64_t left = per;  // groups of this slice
  bool first = true;
  for (int64_t j = 0; j < r.groups; j++) {
    if (j + 1 < r.groups) load_stage<kType>(s, b, source, r, j + 1, next);
    const ManyStage& stage = stages[j % 2];
#pragma unroll
    for (int m = 0; m < 2; m++) {
      const int row = w_at + 16 * m + g;
      const uint4 low = stage.w[row][t], high = stage.w[row + 8][t];
      TileScales k{};
      if constexpr (has_scales(kType)) {
        k.low = stage.scales[row];
        k.high = stage.scales[row + 8];
      }
#pragma unroll
      for (int n = 0; n < kColumnTiles; n++) {
        if constexpr (Fragments<kType>::kMinima) {
          k.sum[0] = stage.sums[x_at + 8 * n + 2 * t];
          k.sum[1] = stage.sums[x_at + 8 * n + 2 * t + 1];
        }
        group_step<kType>(acc[m][n], low, high, stage.x[x_at + 8 * n + g][t], k);
      }
    }
    if (j + 1 < r.groups) store_stage<kType>(next, stages[(j + 1) % 2]);
    if (--left == 0 || j + 1 == r.groups) {
      left = per;
#pragma unroll
      for (int i = 0; i < 8 * kColumnTiles; i++) {
        float& a = acc[i / (4 * kColumnTiles)][i / 4 % kColumnTiles][i % 4];
        float& sum = total[i / (4 * kColumnTiles)][i / 4 % kColumnTiles][i % 4];
        sum = first ? a : sum + a;
        a = 0.0f;
      }
      first = false;
    }
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int n = 0; n < kColumnTiles; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int column = w_at + 16 * m + g + i / 2 * 8, row = x_at + 8 * n + 2 * t + i % 2;
        if (row >= b.count || column >= b.w_count) continue;
        float y = total[m][n][i];
        if (s.bias != nullptr) y += s.bias[b.y_column + column];
        s.y[(b.first + row) * s.y_stride + b.y_column + column] = y;
      }
}

}  // namespace verdant::cuda
