#include "ops/log_mel.h"

namespace verdant::VERDANT_ISA {

// Phase 0: largest power of each sequence, into the workspace; log10 keeps order, so its log is m. Phase 1: the rows.
static int64_t log_mel_workspace(const OpCall& call) { return (call.in[1].dim[0] - 1) * (int64_t)sizeof(float); }

static int64_t log_mel_tasks(const OpCall& call, int32_t phase) {
  return phase == 0 ? call.in[1].dim[0] - 1 : call.in[0].dim[0];
}

static int64_t log_mel_cost(const OpCall& call) { return 24 * call.in[0].dim[0] * call.in[0].dim[1]; }

// A band of NaN is NaN: the comparison must not hide it.
static inline float log_power(float x) { return x < 1e-10f ? -10.0f : log10f(x); }

static void log_mel_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const int64_t cols = call.in[0].dim[1];
  const int32_t* starts = (const int32_t*)call.in[1].data;
  const float* x = (const float*)call.in[0].data;
  float* most = (float*)call.workspace;
  if (phase == 0) {
    for (int64_t s = begin; s < end; s++) {
      most[s] = 0.0f;
      for (int64_t i = starts[s] * cols; i < starts[s + 1] * cols; i++)
        if (x[i] > most[s]) most[s] = x[i];
    }
    return;
  }
  int64_t s = 0;
  for (int64_t r = begin; r < end; r++) {
    while (starts[s + 1] <= r) s++;
    const float least = log_power(most[s]) - 8.0f;
    float* y = (float*)call.out[0].data;
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const float l = log_power(x[i]);
      y[i] = ((l < least ? least : l) + 4.0f) / 4.0f;
    }
  }
}

static const Kernel log_mel_kernel = {2, log_mel_tasks, log_mel_run, log_mel_workspace, log_mel_cost};

}  // namespace verdant::VERDANT_ISA
