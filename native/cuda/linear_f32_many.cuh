// Linear in f32 of many rows and of weights that are single numbers: a block takes a tile of rows of x and of w through
// the slices of the columns in order. The bits are those of linear_f32.cuh.
#pragma once
#include "cuda/linear_f32.cuh"

namespace verdant::cuda {

// A tile of kWarps warps, which take parts of 32 rows of x by 32 kQuads rows of w. A lane brings a row of x and one of
// w to shared memory, and has sums of eight rows of x (4 g .. 4 g + 3, and 16 behind) with kQuads times four of w
// (4 t .. 4 t + 3, and 32 behind), g = lane / 8, t = lane % 8.
template <int kWarps>
struct F32Tile {
  static constexpr int kThreads = kWarps * kWarp, kRows = 16 * kWarps, kQuads = kWarps / 4, kColumns = 4 * kQuads;
  // (column, row): lanes store four columns of neighbouring rows without bank conflicts.
  struct alignas(16) Stage {
    float x[kGroup][kRows + 4], w[kGroup][kRows + 4];
  };
  using Sums = float[8][kColumns];

  static __device__ __forceinline__ int x_row(int i) {
    return warp_index() / 2 * 32 + i / 4 * 16 + warp_lane() / 8 * 4 + i % 4;
  }
  static __device__ __forceinline__ int w_row(int quad) {
    return (warp_index() % 2 * kQuads + quad) * 32 + warp_lane() % 8 * 4;
  }
};

// A group of columns on its way to shared memory: a lane has every other four columns of its rows.
template <DType kType, int kWarps>
struct F32Group {
  static constexpr int kLoads = kGroup / 8;
  float4 x[kLoads];
  RawQuad<kType> w[kLoads];

  template <class Row>
  __device__ __forceinline__ void load(const Row& x_row, const uint8_t* w_row, int first, int cols) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int k = first + 8 * i + warp_lane() / 16 * 4;
      const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      x[i] = k < cols ? x_row.quad(k, cols) : zeros;
      w[i] = {};
      if (k < cols) w[i] = raw_quad<kType>(w_row, k);
    }
  }
  __device__ __forceinline__ void store(typename F32Tile<kWarps>::Stage& stage, int own) const {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int k = 8 * i + warp_lane() / 16 * 4;
      stage.x[k][own] = x[i].x, stage.x[k + 1][own] = x[i].y, stage.x[k + 2][own] = x[i].z;
      stage.x[k + 3][own] = x[i].w;
      const float4 v = quad_value<kType>(w[i]);
      stage.w[k][own] = v.x, stage.w[k + 1][own] = v.y, stage.w[k + 2][own] = v.z, stage.w[k + 3][own] = v.w;
    }
  }
};

// sum += column k of the group.
template <int kWarps>
static __device__ __forceinline__ void multiply_column(const typename F32Tile<kWarps>::Stage& stage, int k,
                                                       typename F32Tile<kWarps>::Sums& sum) {
  using Tile = F32Tile<kWarps>;
  float x[8], w[Tile::kColumns];
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(&stage.x[k][Tile::x_row(i)]);
    x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
  }
#pragma unroll
  for (int q = 0; q < Tile::kQuads; q++) {
    const float4 four = *reinterpret_cast<const float4*>(&stage.w[k][Tile::w_row(q)]);
    w[4 * q] = four.x, w[4 * q + 1] = four.y, w[4 * q + 2] = four.z, w[4 * q + 3] = four.w;
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int n = 0; n < Tile::kColumns; n++) sum[i][n] = fmaf(x[i], w[n], sum[i][n]);
}

// The sums of a tile, with their bias, to y.
template <int kWarps>
static __device__ __forceinline__ void store_tile(const SegmentArgs& s, const BlockRows& b,
                                                  const typename F32Tile<kWarps>::Sums& sum) {
  using Tile = F32Tile<kWarps>;
  const bool wide = s.y_stride % 4 == 0 && reinterpret_cast<uintptr_t>(s.y + b.y_column) % 16 == 0;
#pragma unroll
  for (int q = 0; q < Tile::kQuads; q++) {
    const int column = Tile::w_row(q), left = b.w_count - column;
    float bias[4] = {};
    for (int n = 0; n < 4; n++)
      if (s.bias != nullptr && n < left) bias[n] = s.bias[b.y_column + column + n];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (Tile::x_row(i) >= b.count) continue;
      float* y = s.y + int64_t{b.first + Tile::x_row(i)} * s.y_stride + b.y_column + column;
      float out[4];
      for (int n = 0; n < 4; n++) out[n] = s.bias != nullptr ? sum[i][4 * q + n] + bias[n] : sum[i][4 * q + n];
      if (wide && left >= 4) {
        *reinterpret_cast<float4*>(y) = make_float4(out[0], out[1], out[2], out[3]);
      } else {
        for (int n = 0; n < 4; n++)
          if (n < left) y[n] = out[n];
      }
    }
  }
}

// X: x.row(i, n) of row i of the source for row n of w; its quad(k, cols) has columns k .. k + 3, k a multiple of 4 and
// less than cols, zeros behind the last one.
template <DType kType, int kWarps, class X>
static __global__ void __launch_bounds__(F32Tile<kWarps>::kThreads, kWarps == 4 ? 2 : 1)
    linear_f32_many_kernel(const __grid_constant__ SegmentList list, RowSource source, X x) {
  wait_for_predecessors();
  using Tile = F32Tile<kWarps>;
  VERDANT_DYNAMIC_SHARED(shared);
  auto* const stages = reinterpret_cast<typename Tile::Stage*>(shared);
  uint32_t block;
  const SegmentArgs& s = own_segment(list, block);
  const BlockRows b = block_rows(s, source, block, Tile::kRows, Tile::kRows);
  const int own = warp_index() * 16 + warp_lane() % 16, cols = s.cols;
  const auto x_row = x.row(b.first + (own < b.count ? own : b.count - 1), s.row_begin + b.w_begin);
  const uint8_t* const w_row = weight_row(s, b.w_begin + (own < b.w_count ? own : b.w_count - 1));
  const int groups = (cols + kGroup - 1) / kGroup, per = static_cast<int>(slice_units(cols, kGroup));
  F32Group<kType, kWarps> next;
  next.load(x_row, w_row, 0, cols);
  next.store(stages[0], own);
  __syncthreads();
  typename Tile::Sums sum = {}, total = {};
  for (int j = 0; j < groups; j++) {
    const typename Tile::Stage& stage = stages[j % 2];
    if (j + 1 < groups) next.load(x_row, w_row, (j + 1) * kGroup, cols);
    if (cols - j * kGroup >= kGroup) {
#pragma unroll 8
      for (int k = 0; k < kGroup; k++) multiply_column<kWarps>(stage, k, sum);
    } else {
#pragma unroll 1
      for (int k = 0; k < cols - j * kGroup; k++) multiply_column<kWarps>(stage, k, sum);
    }
    if ((j + 1) % per == 0 || j + 1 == groups) {  // the end of a slice
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int n = 0; n < Tile::kColumns; n++) {
          total[i][n] = j < per ? sum[i][n] : total[i][n] + sum[i][n];
          sum[i][n] = 0.0f;
        }
    }
    if (j + 1 < groups) next.store(stages[(j + 1) % 2], own);
    __syncthreads();
  }
  store_tile<kWarps>(s, b, total);
}

template <DType kType, int kWarps, class X>
static void launch_f32_many(SegmentList list, const RowSource& source, const X& x, const Gpu& gpu) {
  using Tile = F32Tile<kWarps>;
  const unsigned grid = count_blocks(list, source, Tile::kRows, Tile::kRows);
  launch(linear_f32_many_kernel<kType, kWarps, X>, grid, Tile::kThreads, 2 * sizeof(typename Tile::Stage), gpu, list,
         source, x);
}

// By tiles of 128 or 64 rows where they keep the GPU busy, else by kFew rows. No list, no tiles of experts.
template <DType kType, int kFew, class X>
static void launch_f32_rows(SegmentList list, const RowSource& source, const X& x, const Gpu& gpu) {
  if constexpr (!has_scales(kType)) {
    const auto tiles = [&](int64_t rows) { return static_cast<int64_t>(count_blocks(list, source, rows, rows)); };
    const bool wide = source.group_rows == 0 || source.group_rows > 64;
    if (wide && source.rows > 64 && tiles(128) >= gpu.multiprocessors)
      return launch_f32_many<kType, 8>(list, source, x, gpu);
    if (source.rows > 32 && 2 * tiles(64) >= gpu.multiprocessors)
      return launch_f32_many<kType, 4>(list, source, x, gpu);
  }
  launch_f32<kType, kFew>(list, source, x, gpu);
}

}  // namespace verdant::cuda
