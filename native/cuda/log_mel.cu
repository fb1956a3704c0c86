#include "ops/log_mel.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kLogMelThreads = 1024;

// The largest power of each sequence, one block each; log10 keeps order. A NaN is passed over, as by every comparison.
static __global__ void loudest_kernel(const float* x, const int32_t* starts, int64_t cols, float* most) {
  wait_for_predecessors();
  __shared__ float scratch[kLogMelThreads / kWarp];
  float m = 0.0f;
  for (int64_t i = starts[blockIdx.x] * cols + threadIdx.x; i < starts[blockIdx.x + 1] * cols; i += kLogMelThreads)
    m = fmaxf(m, x[i]);
  m = block_max<kLogMelThreads>(m, scratch);
  if (threadIdx.x == 0) most[blockIdx.x] = m;
}

struct LogMel {
  const float *x, *most;
  const int32_t* starts;
  float* y;
  int64_t cols, sequences;

  static __device__ float log_power(float power) { return power < 1e-10f ? -10.0f : log10f(power); }
  __device__ void operator()(int64_t i) const {
    const float least = log_power(most[sequence_of(starts, sequences, i / cols)]) - 8.0f, l = log_power(x[i]);
    y[i] = ((l < least ? least : l) + 4.0f) / 4.0f;
  }
};

static int64_t log_mel_workspace(const OpCall& call) { return call.in[1].dim[0] * 4; }

static void log_mel_run(const OpCall& call, const Gpu& gpu) {
  const int64_t cols = call.in[0].dim[1], sequences = call.in[1].dim[0] - 1;
  auto* most = reinterpret_cast<float*>(call.workspace);
  if (sequences < 1) return;
  launch(loudest_kernel, static_cast<unsigned>(sequences), kLogMelThreads, 0, gpu, float_input(call, 0),
         int_input(call, 1), cols, most);
  each(count_of(call.in[0]), gpu,
       LogMel{float_input(call, 0), most, int_input(call, 1), float_output(call), cols, sequences});
}

extern const CudaOp log_mel_op;
const CudaOp log_mel_op = {log_mel_run, log_mel_workspace};

}  // namespace verdant::cuda
