#include "ops/slice.h"

namespace verdant::VERDANT_ISA {

static int64_t slice_tasks(const OpCall& call, int32_t) { return call.out[0].dim[0]; }

static int64_t slice_cost(const OpCall& call) { return call.out[0].dim[0] * call.out[0].dim[1]; }

static void slice_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const SliceAttrs& a = *(const SliceAttrs*)call.attrs;
  const int64_t cols = call.in[0].dim[1], n = call.out[0].dim[1];
  if (n == 0) return;
  for (int64_t r = begin; r < end; r++) {
    const float* x = (const float*)call.in[0].data + r * cols + a.begin;
    memcpy((float*)call.out[0].data + r * n, x, sizeof(float) * (size_t)n);
  }
}

static const Kernel slice_kernel = {1, slice_tasks, slice_run, nullptr, slice_cost, slice_run};

}  // namespace verdant::VERDANT_ISA
