#include "ops/layer_norm.h"

#include "cuda/norm_kernel.cuh"

namespace verdant::cuda {

// The mean is found twice, the second time of x - mean, which removes the rounding of the first; the variance is that
// of the differences: nothing cancels when the mean is large.
struct LayerNorm {
  const float *weight, *bias;
  float eps;
  struct Found {
    float mean, residual, inverse;
  };

  template <class Columns>
  __device__ Found find(const Columns& x, NormScratch& scratch) const {
    const float count = static_cast<float>(x.cols);
    float sum = 0.0f, rest = 0.0f, squares = 0.0f;
    x.each([&](float v) { sum += v; });
    const float mean = block_sum<kNormThreads>(sum, scratch.sums[0]) / count;
    x.each([&](float v) { rest += v - mean; });
    const float residual = block_sum<kNormThreads>(rest, scratch.sums[1]) / count;
    x.each([&](float v) {
      const float d = v - mean - residual;
      squares = fmaf(d, d, squares);
    });
    return {mean, residual, 1.0f / sqrtf(block_sum<kNormThreads>(squares, scratch.sums[2]) / count + eps)};
  }
  __device__ float column(float x, float w, float b, const Found& f) const {
    return fmaf((x - f.mean - f.residual) * f.inverse, w, b);
  }
};

void layer_norm_rows(const OpCall& call, const OpCall* add, const RoundTarget& round, const Gpu& gpu) {
  const auto eps = static_cast<float>(static_cast<const LayerNormAttrs*>(call.attrs)->eps);
  const LayerNorm norm = {float_input(call, 1), float_input(call, 2), eps};
  const OpCall& first = add ? *add : call;
  run_norm(norm, float_input(first, 0), add ? float_input(*add, 1) : nullptr, add ? float_output(*add) : nullptr,
           float_output(call), call.in[0].dim[0], call.in[0].dim[1], round, gpu);
}

static void layer_norm_run(const OpCall& call, const Gpu& gpu) { layer_norm_rows(call, nullptr, {}, gpu); }

extern const CudaOp layer_norm_op;
const CudaOp layer_norm_op = {layer_norm_run};

}  // namespace verdant::cuda
