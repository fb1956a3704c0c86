#include "ops/rms_norm.h"

#include "cuda/norm_kernel.cuh"

namespace verdant::cuda {

// y = x / sqrt(mean x^2 + eps) * (offset + weight)
struct RmsNorm {
  const float *weight, *bias;  // no bias
  float eps, offset;

  template <class Columns>
  __device__ float find(const Columns& x, NormScratch& scratch) const {
    float sum = 0.0f;
    x.each([&](float v) { sum = fmaf(v, v, sum); });
    sum = block_sum<kNormThreads>(sum, scratch.sums[0]);
    return 1.0f / sqrtf(sum / static_cast<float>(x.cols) + eps);
  }
  __device__ float column(float x, float w, float, float scale) const { return x * scale * (offset + w); }
};

void rms_norm_rows(const OpCall& call, const OpCall* add, const RoundTarget& round, const Gpu& gpu) {
  const auto& a = *static_cast<const RmsNormAttrs*>(call.attrs);
  const int64_t cols = call.in[1].dim[0];
  if (cols == 0) return;
  const RmsNorm norm = {float_input(call, 1), nullptr, static_cast<float>(a.eps), static_cast<float>(a.offset)};
  const OpCall& first = add ? *add : call;
  run_norm(norm, float_input(first, 0), add ? float_input(*add, 1) : nullptr, add ? float_output(*add) : nullptr,
           float_output(call), call.in[0].dim[0] * call.in[0].dim[1] / cols, cols, round, gpu);
}

static void rms_norm_run(const OpCall& call, const Gpu& gpu) { rms_norm_rows(call, nullptr, {}, gpu); }

extern const CudaOp rms_norm_op;
const CudaOp rms_norm_op = {rms_norm_run};

}  // namespace verdant::cuda
