#include "ops/token_logprob.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kLogprobThreads = 512;

// One block per row: x[t] - max - log(sum exp(x - max)), sums in double; a target outside the vocabulary gives NaN.
static __global__ void token_logprob_kernel(const float* x, const int32_t* targets, float* logprobs, int64_t vocab) {
  wait_for_predecessors();
  __shared__ float most[kLogprobThreads / kWarp];
  __shared__ double sums[kLogprobThreads / kWarp];
  x += blockIdx.x * vocab;
  float top = -INFINITY;
  for (int64_t c = threadIdx.x; c < vocab; c += kLogprobThreads) top = fmaxf(top, x[c]);
  top = block_max<kLogprobThreads>(top, most);
  double sum = 0;
  for (int64_t c = threadIdx.x; c < vocab; c += kLogprobThreads) sum += static_cast<double>(expf(x[c] - top));
  sum = block_sum<kLogprobThreads>(sum, sums);
  if (threadIdx.x != 0) return;
  const int64_t t = targets[blockIdx.x];
  logprobs[blockIdx.x] =
      t < 0 || t >= vocab ? NAN : static_cast<float>(static_cast<double>(x[t]) - static_cast<double>(top) - log(sum));
}

static void token_logprob_run(const OpCall& call, const Gpu& gpu) {
  launch(token_logprob_kernel, static_cast<unsigned>(call.in[0].dim[0]), kLogprobThreads, 0, gpu, float_input(call, 0),
         int_input(call, 1), float_output(call), call.in[0].dim[1]);
}

extern const CudaOp token_logprob_op;
const CudaOp token_logprob_op = {token_logprob_run};

}  // namespace verdant::cuda
