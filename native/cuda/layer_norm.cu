#include "ops/layer_norm.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kLayerNormThreads = 256;

// One block per row. The mean is found twice, the second time of x - mean, which removes the rounding of the first; the
// variance is that of the differences: nothing cancels when the mean is large.
static __global__ void layer_norm_kernel(const float* x, const float* weight, const float* bias, float* y, int64_t cols,
                                         float eps) {
  __shared__ float sums[3][kLayerNormThreads / kWarp];
  x += blockIdx.x * cols;
  y += blockIdx.x * cols;
  const auto each_column = [&](auto f) {
    for (int64_t c = threadIdx.x; c < cols; c += kLayerNormThreads) f(c);
  };
  const float count = static_cast<float>(cols);
  float sum = 0.0f, rest = 0.0f, squares = 0.0f;
  each_column([&](int64_t c) { sum += x[c]; });
  const float mean = block_sum<kLayerNormThreads>(sum, sums[0]) / count;
  each_column([&](int64_t c) { rest += x[c] - mean; });
  const float residual = block_sum<kLayerNormThreads>(rest, sums[1]) / count;
  each_column([&](int64_t c) {
    const float d = x[c] - mean - residual;
    squares = fmaf(d, d, squares);
  });
  const float inverse = 1.0f / sqrtf(block_sum<kLayerNormThreads>(squares, sums[2]) / count + eps);
  each_column(
      [&](int64_t c) { y[c] = fmaf((x[c] - mean - residual) * inverse, weight[c], bias == nullptr ? 0.0f : bias[c]); });
}

static void layer_norm_run(const OpCall& call, const Gpu& gpu) {
  launch(layer_norm_kernel, static_cast<unsigned>(call.in[0].dim[0]), kLayerNormThreads, 0, gpu, float_input(call, 0),
         float_input(call, 1), float_input(call, 2), float_output(call), call.in[0].dim[1],
         static_cast<float>(static_cast<const LayerNormAttrs*>(call.attrs)->eps));
}

extern const CudaOp layer_norm_op;
const CudaOp layer_norm_op = {layer_norm_run};

}  // namespace verdant::cuda
