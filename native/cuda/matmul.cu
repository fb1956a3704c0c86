#include "ops/matmul.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kTile = 32, kRowsEach = 4;  // a block: 32 x 8 threads, each four rows of a 32 x 32 tile of y

struct MatmulSizes {
  int64_t m, n, k;
  bool transpose_b;
};

// y (m, n) of one of the leading dims = a (m, k) b (k, n): one fmaf chain per element, k ascending.
static __global__ void matmul_kernel(const float* a, const float* b, float* y, MatmulSizes z) {
  wait_for_predecessors();
  __shared__ float as[kTile][kTile], bs[kTile][kTile + 1];
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int64_t across = (z.n + kTile - 1) / kTile, down = (z.m + kTile - 1) / kTile;
  const int64_t batch = blockIdx.x / (across * down), tile = blockIdx.x % (across * down);
  const int64_t row = tile / across * kTile, column = tile % across * kTile;
  a += batch * z.m * z.k;
  b += batch * z.n * z.k;
  float sum[kRowsEach] = {};
  for (int64_t base = 0; base < z.k; base += kTile) {
#pragma unroll
    for (int i = 0; i < kRowsEach; i++) {
      const int r = ty + i * kTile / kRowsEach;
      as[r][tx] = row + r < z.m && base + tx < z.k ? a[(row + r) * z.k + base + tx] : 0.0f;
      if (z.transpose_b)  // b (n, k)
        bs[tx][r] = column + r < z.n && base + tx < z.k ? b[(column + r) * z.k + base + tx] : 0.0f;
      else
        bs[r][tx] = base + r < z.k && column + tx < z.n ? b[(base + r) * z.n + column + tx] : 0.0f;
    }
    __syncthreads();
    const int count = z.k - base < kTile ? static_cast<int>(z.k - base) : kTile;
    for (int k = 0; k < count; k++)
#pragma unroll
      for (int i = 0; i < kRowsEach; i++) sum[i] = fmaf(as[ty + i * kTile / kRowsEach][k], bs[k][tx], sum[i]);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kRowsEach; i++) {
    const int64_t r = row + ty + i * kTile / kRowsEach;
    if (r < z.m && column + tx < z.n) y[(batch * z.m + r) * z.n + column + tx] = sum[i];
  }
}

static void matmul_run(const OpCall& call, const Gpu& gpu) {
  const Tensor &a = call.in[0], &y = call.out[0];
  const MatmulSizes z = {y.dim[y.rank - 2], y.dim[y.rank - 1], a.dim[a.rank - 1],
                         static_cast<const MatmulAttrs*>(call.attrs)->transpose_b != 0};
  int64_t batches = 1;
  for (int32_t i = 0; i + 2 < y.rank; i++) batches *= y.dim[i];
  launch(matmul_kernel, static_cast<unsigned>(batches * blocks_of(z.m, kTile) * blocks_of(z.n, kTile)),
         dim3(kTile, kTile / kRowsEach), 0, gpu, float_input(call, 0), float_input(call, 1), float_output(call), z);
}

extern const CudaOp matmul_op;
const CudaOp matmul_op = {matmul_run};

}  // namespace verdant::cuda
