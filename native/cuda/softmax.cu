#include "cuda/launch.cuh"

namespace verdant::cuda {

constexpr int kSoftmaxThreads = 256;

// One block per row; thread t takes columns t, t + 256, ...
static __global__ void softmax_kernel(const float* x, float* y, int64_t cols) {
  wait_for_predecessors();
  __shared__ float most[kSoftmaxThreads / kWarp], sums[kSoftmaxThreads / kWarp];
  x += blockIdx.x * cols;
  y += blockIdx.x * cols;
  float m = -INFINITY;
  for (int64_t c = threadIdx.x; c < cols; c += kSoftmaxThreads) m = fmaxf(m, x[c]);
  m = block_max<kSoftmaxThreads>(m, most);
  float sum = 0.0f;
  for (int64_t c = threadIdx.x; c < cols; c += kSoftmaxThreads) sum += expf(x[c] - m);
  sum = block_sum<kSoftmaxThreads>(sum, sums);
  for (int64_t c = threadIdx.x; c < cols; c += kSoftmaxThreads) y[c] = expf(x[c] - m) / sum;
}

static void softmax_run(const OpCall& call, const Gpu& gpu) {
  launch(softmax_kernel, static_cast<unsigned>(call.in[0].dim[0]), kSoftmaxThreads, 0, gpu,
         static_cast<const float*>(call.in[0].data), static_cast<float*>(call.out[0].data), call.in[0].dim[1]);
}

extern const CudaOp softmax_op;
const CudaOp softmax_op = {softmax_run};

}  // namespace verdant::cuda
