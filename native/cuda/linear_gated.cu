// Two linears of the same few rows whose products gate each other, and the rounding of the linear that reads them, in
// one launch; with the bits of the ops one by one.
#include "cuda/activation.cuh"
#include "cuda/fuse.h"
#include "cuda/linear_few.cuh"
#include "cuda/rounding.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int64_t kGatedRows = 32;  // of x, at most

struct GatedArgs {
  SegmentArgs gate, up;
  RoundedRows r;
  float* y;
  int32_t rows, fn;
  uint32_t early;  // as in SegmentList
  RoundTarget to;
};

// y = fn(gate) up and its rounded form: 16 columns of 8 kTiles rows. Blocks behind the last column round zeros.
template <DType kType, int kTiles>
static __global__ void __launch_bounds__(kLinearThreads, 2) linear_gated_kernel(const __grid_constant__ GatedArgs a) {
  __shared__ FewSums<kTiles> gates, ups;
  __shared__ float values[8 * kTiles][16];
  const int half = static_cast<int>(blockIdx.x), begin = half * kHalfGroup, left = a.gate.rows - begin;
  const int count = left < kHalfGroup ? left : kHalfGroup;
  const auto x_row = [&](int i) { return i < a.rows ? i : a.rows - 1; };
  if (count > 0 && blockIdx.x < a.early) {
    call_weights<kType>(a.gate, few_weights(a.gate, begin, count));
    call_weights<kType>(a.up, few_weights(a.up, begin, count));
  }
  wait_for_predecessors();
  if (count > 0) {
    const FewWeights w[2] = {few_weights(a.gate, begin, count), few_weights(a.up, begin, count)};
    float acc[2][kTiles][4] = {};
    few_slice<kType, kTiles>(a.gate, w, a.r, x_row, acc);
    store_sums<kTiles>(acc[0], gates);
    store_sums<kTiles>(acc[1], ups);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 16 * 8 * kTiles; i += kLinearThreads) {
    const int row = i / 16, column = i % 16;
    float v = 0.0f;
    if (row < a.rows && column < count) {
      float gate = sum_slices<kTiles>(gates, row, column, a.gate.slices);
      float up = sum_slices<kTiles>(ups, row, column, a.up.slices);
      if (a.gate.bias != nullptr) gate += a.gate.bias[begin + column];
      if (a.up.bias != nullptr) up += a.up.bias[begin + column];
      v = activate(a.fn, gate) * up;
      if (!a.to.alone) a.y[int64_t{row} * a.gate.rows + begin + column] = v;
    }
    values[row][column] = v;
  }
  __syncthreads();
  if (warp_index() >= kTiles) return;
  const int row = static_cast<int>(threadIdx.x) / 4, quarter = static_cast<int>(threadIdx.x) % 4;
  round_quarter(values[row] + 4 * quarter, row, 4 * half + quarter, row < a.rows, a.to);
}

template <DType kType>
static void launch_gated(const GatedArgs& a, const Gpu& gpu) {
  const auto blocks = static_cast<unsigned>(2 * a.to.groups);
  if (a.rows <= 8) return launch(linear_gated_kernel<kType, 1>, blocks, kLinearThreads, 0, gpu, a);
  launch(linear_gated_kernel<kType, 4>, blocks, kLinearThreads, 0, gpu, a);
}

bool linear_gated(const OpCall& linears, const OpCall& gated, const RoundTarget& to, const Gpu& gpu) {
  const int64_t rows = linears.in[0].dim[0], cols = linears.in[0].dim[1];
  const auto &gate = linear_matrix(linears, 0), &up = linear_matrix(linears, 1);
  if (rows == 0 || rows > kGatedRows || !to.wanted() || gate.segment_count != 1 || up.segment_count != 1) return false;
  const MatrixSegment &g = gate.segments[0], &u = up.segments[0];
  if (g.type != u.type || g.rows != u.rows || linear_compute(linears.compute, g.type) != kComputeBF16) return false;
  GatedArgs a{};
  a.gate = segment_args(g, cols, float_input(linears, 2), nullptr, 0);
  a.up = segment_args(u, cols, float_input(linears, 4), nullptr, 0);
  a.r = linear_rows(linears, g.type, gpu);
  a.y = float_output(gated);
  a.rows = static_cast<int32_t>(rows);
  a.early = static_cast<uint32_t>(gpu.multiprocessors * kEarlyBlocks);
  a.fn = static_cast<const ActivationAttrs*>(gated.attrs)->fn;
  a.to = to;
  with_weight_type(g.type, [&]<DType kType>() {
    if constexpr (kType != kF32 && kType != kF16) launch_gated<kType>(a, gpu);
  });
  return true;
}

}  // namespace verdant::cuda
