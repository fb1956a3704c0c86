#include "ops/group_norm.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kNormColumns = 32, kNormLanes = 8;  // a block of threads: columns by parts of the rows

// One block per sequence and 32 columns: thread (c, l) takes rows l, l + 8, ... of column c; sums in double.
static __global__ void group_norm_kernel(const float* x, const float* weight, const float* bias, const int32_t* starts,
                                         float* y, int64_t cols, double eps) {
  wait_for_predecessors();
  __shared__ double sums[kNormLanes][kNormColumns];
  const int64_t blocks = (cols + kNormColumns - 1) / kNormColumns, s = blockIdx.x / blocks;
  const int c = static_cast<int>(threadIdx.x), l = static_cast<int>(threadIdx.y);
  const int64_t column = blockIdx.x % blocks * kNormColumns + c, begin = starts[s], end = starts[s + 1];
  const bool inside = column < cols;
  const auto total = [&](double sum) {
    __syncthreads();  // what was read before
    sums[l][c] = sum;
    __syncthreads();
    double all = sums[0][c];
    for (int i = 1; i < kNormLanes; i++) all += sums[i][c];
    return all;
  };
  const double count = static_cast<double>(end - begin);
  double sum = 0, squares = 0;
  for (int64_t r = begin + l; inside && r < end; r += kNormLanes) sum += static_cast<double>(x[r * cols + column]);
  const double mean = total(sum) / count;
  for (int64_t r = begin + l; inside && r < end; r += kNormLanes) {
    const double d = static_cast<double>(x[r * cols + column]) - mean;
    squares += d * d;
  }
  const double inverse = 1.0 / sqrt(total(squares) / count + eps);
  for (int64_t r = begin + l; inside && r < end; r += kNormLanes) {
    const float normed = static_cast<float>((static_cast<double>(x[r * cols + column]) - mean) * inverse);
    y[r * cols + column] = fmaf(normed, weight[column], bias[column]);
  }
}

static void group_norm_run(const OpCall& call, const Gpu& gpu) {
  const int64_t cols = call.in[0].dim[1], sequences = call.in[3].dim[0] - 1;
  if (sequences < 1 || call.in[0].dim[0] == 0) return;
  launch(group_norm_kernel, static_cast<unsigned>(sequences * blocks_of(cols, kNormColumns)),
         dim3(kNormColumns, kNormLanes), 0, gpu, float_input(call, 0), float_input(call, 1), float_input(call, 2),
         int_input(call, 3), float_output(call), cols, static_cast<const GroupNormAttrs*>(call.attrs)->eps);
}

extern const CudaOp group_norm_op;
const CudaOp group_norm_op = {group_norm_run};

}  // namespace verdant::cuda
