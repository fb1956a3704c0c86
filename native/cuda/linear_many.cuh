// Many rows of x with weights on tensor cores: groups of 128 rows of both pass through shared memory.
#pragma once
#include "cuda/linear_mma.cuh"

namespace verdant::cuda {

constexpr int kManyRows = 128;  // of w and of x, of a block of threads
constexpr int kManyThreads = 512;
constexpr int kWarpRows = 32, kWarpColumns = 32, kColumnTiles = kWarpColumns / 8;

// One group of 128 rows of w and of x, as both lie in shared memory.
struct ManyStage {
  uint4 w[kManyRows][4], x[kManyRows][4];
  float2 scales[kManyRows];  // of halves, or a scale and a minimum
  float2 sums[kManyRows];
};
// What a unit adds by sums of x, of types where it does.
struct ManyTerms {
  uint2 minima[kManyRows][4], scales[kManyRows][4];
  float2 factors[kManyRows];
  LaneParts parts[kManyRows][4];
};
template <DType kType>
constexpr int64_t many_bytes() {
  return 2 * sizeof(ManyStage) + (Fragments<kType>::kMinima == Minima::kOfUnit ? sizeof(ManyTerms) : 0);
}

// What a thread carries from device memory to a stage.
struct ManyLoad {
  uint4 w, x;
  float2 scale, sum;
};

// The rows of w and of x of a block of threads; places behind the last one hold that one again.
struct ManyRowsOf {
  const SegmentArgs& s;
  const BlockRows& b;
  const RowSource& source;
  __device__ __forceinline__ const uint8_t* w(int row) const {
    return weight_row(s, b.w_begin + (row < b.w_count ? row : b.w_count - 1));
  }
  __device__ __forceinline__ int64_t x(int row) const {
    return source_row(source, b.first + (row < b.count ? row : b.count - 1));
  }
};

template <DType kType>
static __device__ __forceinline__ void load_stage(const ManyRowsOf& rows, const RoundedRows& r, int j, ManyLoad& l) {
  using F = Fragments<kType>;
  const int thread = static_cast<int>(threadIdx.x), quarter = thread / 4;
  uint32_t w[4];
  F::words_at(rows.w(quarter), rows.s.units, j, thread % 4, w);
  l.w = make_uint4(w[0], w[1], w[2], w[3]);
  l.x = r.x[(rows.x(quarter) * r.groups + j) * 4 + thread % 4];
  if constexpr (has_scales(kType)) {
    if (thread < kManyRows) {
      const auto head = F::head(rows.w(thread), rows.s.units, j / F::kGroups);
      const int group = j % F::kGroups;
      l.scale.x = F::scale(head, group, 0);
      if constexpr (F::kHalves) l.scale.y = F::scale(head, group, 1);
      if constexpr (F::kMinima == Minima::kOfGroups) l.scale.y = F::minimum(head, group, 0);
    } else if (F::kMinima == Minima::kOfGroups && thread < 2 * kManyRows) {
      l.sum = *reinterpret_cast<const float2*>(r.sums + (rows.x(thread - kManyRows) * r.groups + j) * 2);
    }
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

template <DType kType>
static __device__ __forceinline__ void bring_terms(const ManyRowsOf& rows, const RoundedRows& r, int unit,
                                                   ManyTerms& to) {
  using F = Fragments<kType>;
  const int row = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto head = F::head(rows.w(row), rows.s.units, unit);
  to.minima[row][t] = F::minima(head, t);
  to.scales[row][t] = F::scales(head, t);
  if (t == 0) to.factors[row] = F::factors(head);
  to.parts[row][t] = lane_parts(unit_parts(r, rows.x(row), unit, t));
}

// Sums of a warp: 32 rows of w by 32 of x.
using ManySums = float[2][kColumnTiles][4];

template <DType kType>
static __device__ __forceinline__ void many_step(const ManyStage& stage, int w_at, int x_at, ManySums& acc) {
  using F = Fragments<kType>;
  const int g = warp_lane() / 4, t = warp_lane() % 4;
#pragma unroll
  for (int m = 0; m < 2; m++) {
    uint32_t w[2][4];
    RowScales k{};
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = w_at + 16 * m + 8 * i + g;
      const uint4 own = stage.w[row][t];
      w[i][0] = own.x;
      w[i][1] = own.y;
      w[i][2] = own.z;
      w[i][3] = own.w;
      if constexpr (has_scales(kType)) {
        const float2 scales = stage.scales[row];
        k.s[i][0] = scales.x;
        (F::kHalves ? k.s[i][1] : k.m[i][0]) = scales.y;
      }
    }
#pragma unroll
    for (int n = 0; n < kColumnTiles; n++) {
      float2 sums[2] = {};
      if constexpr (F::kMinima == Minima::kOfGroups)
        for (int c = 0; c < 2; c++) sums[c] = stage.sums[x_at + 8 * n + 2 * t + c];
      group_step<kType>(acc[m][n], w, stage.x[x_at + 8 * n + g][t], k, sums);
    }
  }
}

static __device__ __forceinline__ void many_unit_step(const ManyTerms& from, int w_at, int x_at, ManySums& acc) {
  const int g = warp_lane() / 4, t = warp_lane() % 4;
#pragma unroll
  for (int m = 0; m < 2; m++) {
    UnitTerms k;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = w_at + 16 * m + 8 * i + g;
      k.minima[i] = from.minima[row][t];
      k.scales[i] = from.scales[row][t];
      k.factors[i] = from.factors[row];
    }
#pragma unroll
    for (int n = 0; n < kColumnTiles; n++) unit_step(acc[m][n], k, from.parts[x_at + 8 * n + g][t]);
  }
}

// Many rows of x: 128 rows of w by 128 of x; warps take 32 by 32 of them. Slices one after the other.
template <DType kType>
static __global__ void __launch_bounds__(kManyThreads, 1)
    linear_many_kernel(const __grid_constant__ SegmentList list, RowSource source, RoundedRows r) {
  wait_for_predecessors();
  using F = Fragments<kType>;
  VERDANT_DYNAMIC_SHARED(shared);
  auto* stages = reinterpret_cast<ManyStage*>(shared);
  [[maybe_unused]] auto* terms = reinterpret_cast<ManyTerms*>(shared + 2 * sizeof(ManyStage));
  uint32_t block;
  const SegmentArgs& s = own_segment(list, block);
  const BlockRows b = block_rows(s, source, block, kManyRows, kManyRows);
  if (b.count <= 0) return;
  const ManyRowsOf rows = {s, b, source};
  const int lane = warp_lane(), g = lane / 4, t = lane % 4;
  const int w_at = warp_index() / 4 * kWarpRows, x_at = warp_index() % 4 * kWarpColumns;
  const int groups = static_cast<int>(r.groups);
  const int per = s.slice * F::kGroups;
  ManySums acc = {}, total = {};
  ManyLoad next{};
  load_stage<kType>(rows, r, 0, next);
  store_stage<kType>(next, stages[0]);
  __syncthreads();
  int left = per;  // groups of this slice
  bool first = true;
  for (int j = 0; j < groups; j++) {
    if (j + 1 < groups) load_stage<kType>(rows, r, j + 1, next);
    if constexpr (F::kMinima == Minima::kOfUnit)  // nobody reads those of the unit before
      if (j % F::kGroups == 0) bring_terms<kType>(rows, r, j / F::kGroups, *terms);
    many_step<kType>(stages[j % 2], w_at, x_at, acc);
    if constexpr (F::kMinima == Minima::kOfUnit)  // whole units: the last group has come
      if (j % F::kGroups == F::kGroups - 1) many_unit_step(*terms, w_at, x_at, acc);
    if (j + 1 < groups) store_stage<kType>(next, stages[(j + 1) % 2]);
    if (--left == 0 || j + 1 == groups) {
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
        s.y[int64_t{b.first + row} * s.y_stride + b.y_column + column] = y;
      }
}

}  // namespace verdant::cuda
