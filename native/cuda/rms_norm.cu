#include "ops/rms_norm.h"

#include "cuda/launch.cuh"

namespace verdant::cuda {

constexpr int kRmsNormThreads = 256;

// One block per group of a row: y = x / sqrt(mean x^2 + eps) * (offset + weight)
static __global__ void rms_norm_kernel(const float* x, const float* weight, float* y, int64_t cols, float eps,
                                       float offset) {
  __shared__ float sums[kRmsNormThreads / kWarp];
  x += blockIdx.x * cols;
  y += blockIdx.x * cols;
  float sum = 0.0f;
  for (int64_t c = threadIdx.x; c < cols; c += kRmsNormThreads) sum = fmaf(x[c], x[c], sum);
  sum = block_sum<kRmsNormThreads>(sum, sums);
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(cols) + eps);
  for (int64_t c = threadIdx.x; c < cols; c += kRmsNormThreads) y[c] = x[c] * scale * (offset + weight[c]);
}

static void rms_norm_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const RmsNormAttrs*>(call.attrs);
  const int64_t cols = call.in[1].dim[0], groups = cols == 0 ? 0 : call.in[0].dim[0] * call.in[0].dim[1] / cols;
  launch(rms_norm_kernel, static_cast<unsigned>(groups), kRmsNormThreads, 0, gpu,
         static_cast<const float*>(call.in[0].data), static_cast<const float*>(call.in[1].data),
         static_cast<float*>(call.out[0].data), cols, static_cast<float>(a.eps), static_cast<float>(a.offset));
}

extern const CudaOp rms_norm_op;
const CudaOp rms_norm_op = {rms_norm_run};

}  // namespace verdant::cuda
