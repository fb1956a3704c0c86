// Linear in f32: weights of any type decoded exactly, one fmaf chain per element and slice, columns ascending.
#pragma once
#include "cuda/fragments.cuh"
#include "cuda/linear_args.cuh"

namespace verdant::cuda {

constexpr int kF32Rows = kWarp;          // of w, of a block of threads: a lane each
constexpr int kTileStride = kGroup + 1;  // floats: lanes read a column of a tile without bank conflicts

// Four columns of a row of single numbers, k a multiple of 4 below the columns: as they are stored, and as floats.
template <DType kType>
using RawQuad = std::conditional_t<kType == kF32, float4, uint2>;
template <DType kType>
static __device__ __forceinline__ RawQuad<kType> raw_quad(const uint8_t* row, int k) {
  return *reinterpret_cast<const RawQuad<kType>*>(row + (kType == kF32 ? 4 : 2) * k);
}
template <DType kType>
static __device__ __forceinline__ float4 quad_value(const RawQuad<kType>& raw) {
  if constexpr (kType == kF32) {
    return raw;
  } else {
    const auto half = [](uint32_t bits) { return kType == kF16 ? f16_value(bits) : bf16_value(bits); };
    return make_float4(half(raw.x & 0xffff), half(raw.x >> 16), half(raw.y & 0xffff), half(raw.y >> 16));
  }
}

// 32 rows of a group of w on their way to shared memory, by one warp: as floats, zeros past the columns and rows.
template <DType kType>
struct WeightTile {  // of blocks
  __device__ __forceinline__ void load(const SegmentArgs&, const BlockRows&, int64_t) {}
  __device__ __forceinline__ void store(const SegmentArgs& s, const BlockRows& b, int64_t j, float* tile) const {
    const int t = warp_lane() % 4;
    for (int r = warp_lane() / 4; r < kF32Rows; r += 8) {
      const int32_t from = b.w_begin + (r < b.w_count ? r : b.w_count - 1);
      float w[8];
      decode_lane<kType>(weight_row(s, from), s.units, static_cast<int>(j), t, w);
#pragma unroll
      for (int i = 0; i < 8; i++) tile[r * kTileStride + lane_column(t, i)] = w[i];
    }
  }
};
template <DType kType>
  requires(!has_scales(kType))
struct WeightTile<kType> {  // of single numbers
  static constexpr int kLoads = kF32Rows / 4;
  RawQuad<kType> w[kLoads];

  __device__ __forceinline__ void load(const SegmentArgs& s, const BlockRows& b, int64_t j) {
    const int column = static_cast<int>(j) * kGroup + warp_lane() % 8 * 4;
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int r = 4 * i + warp_lane() / 8;
      w[i] = {};
      if (r < b.w_count && column < s.cols) w[i] = raw_quad<kType>(weight_row(s, b.w_begin + r), column);
    }
  }
  __device__ __forceinline__ void store(const SegmentArgs&, const BlockRows&, int64_t, float* tile) const {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      float* to = tile + (4 * i + warp_lane() / 8) * kTileStride + warp_lane() % 8 * 4;
      const float4 x = quad_value<kType>(w[i]);
      to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
    }
  }
};

// kRows rows of x with 32 rows of w. Warps are slices, lanes are rows of w. X: x(i, k, n) for row i of the source, k
// below the columns, n a row of w of the same group.
template <DType kType, int kRows, class X>
static __global__ void linear_f32_kernel(const __grid_constant__ SegmentList list, RowSource source, X x) {
  wait_for_predecessors();
  VERDANT_DYNAMIC_SHARED(shared);
  uint32_t block;
  const SegmentArgs& s = own_segment(list, block);
  const BlockRows b = block_rows(s, source, block, kRows, kF32Rows);
  if (b.count <= 0) return;
  const int warp = warp_index(), lane = warp_lane();
  float* tile = reinterpret_cast<float*>(shared) + warp * (kF32Rows * kTileStride + kRows * kGroup);
  float* xs = tile + kF32Rows * kTileStride;
  const int64_t groups = (s.cols + kGroup - 1) / kGroup, per = slice_units(s.cols, kGroup);
  const int64_t end = (warp + 1) * per < groups ? (warp + 1) * per : groups;
  float sum[kRows] = {};
  WeightTile<kType> weights;
  if (warp * per < end) weights.load(s, b, warp * per);
  for (int64_t j = warp * per; j < end; j++) {
    weights.store(s, b, j, tile);
    if (j + 1 < end) weights.load(s, b, j + 1);
    for (int i = 0; i < kRows; i++)
      xs[i * kGroup + lane] =
          i < b.count && j * kGroup + lane < s.cols ? x(b.first + i, j * kGroup + lane, s.row_begin + b.w_begin) : 0.0f;
    __syncwarp();
    const int64_t left = s.cols - j * kGroup;
    const int count = left < kGroup ? static_cast<int>(left) : kGroup;
    int k = 0;
    for (; k + 4 <= count; k += 4) {
      const float* w = tile + lane * kTileStride + k;
      const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
#pragma unroll
      for (int i = 0; i < kRows; i++) {
        const float4 v = *reinterpret_cast<const float4*>(xs + i * kGroup + k);
        sum[i] = fmaf(v.w, w3, fmaf(v.z, w2, fmaf(v.y, w1, fmaf(v.x, w0, sum[i]))));
      }
    }
    for (; k < count; k++) {
      const float w = tile[lane * kTileStride + k];
#pragma unroll
      for (int i = 0; i < kRows; i++) sum[i] = fmaf(xs[i * kGroup + k], w, sum[i]);
    }
    __syncwarp();
  }
  __syncthreads();
  float* sums = reinterpret_cast<float*>(shared);  // (slices, rows of x, rows of w)
#pragma unroll
  for (int i = 0; i < kRows; i++) sums[(warp * kRows + i) * kF32Rows + lane] = sum[i];
  __syncthreads();
  for (int i = warp; i < b.count; i += kSlices) {
    if (lane >= b.w_count) continue;
    float total = sums[i * kF32Rows + lane];
    for (int w = 1; w < kSlices && w * per < groups; w++) total += sums[(w * kRows + i) * kF32Rows + lane];
    if (s.bias != nullptr) total += s.bias[b.y_column + lane];
    s.y[int64_t{b.first + i} * s.y_stride + b.y_column + lane] = total;
  }
}

template <DType kType, int kRows, class X>
static void launch_f32(SegmentList list, const RowSource& source, const X& x, const Gpu& gpu) {
  const int64_t shared = int64_t{kSlices} * (kF32Rows * kTileStride + kRows * kGroup) * 4;
  const unsigned grid = count_blocks(list, source, kRows, kF32Rows);
  launch(linear_f32_kernel<kType, kRows, X>, grid, kLinearThreads, shared, gpu, list, source, x);
}

}  // namespace verdant::cuda
