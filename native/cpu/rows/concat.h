#include "ops/concat.h"

namespace verdant::VERDANT_ISA {

static int64_t concat_tasks(const OpCall& call, int32_t) { return call.out[0].dim[0]; }

static int64_t concat_cost(const OpCall& call) { return call.out[0].dim[0] * call.out[0].dim[1]; }

static void concat_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t cols = call.out[0].dim[1];
  for (int64_t r = begin; r < end; r++) {
    float* y = (float*)call.out[0].data + r * cols;
    for (int32_t i = 0; i < call.in_count; i++) {
      const Tensor& x = call.in[i];
      if (x.data == nullptr || x.dim[1] == 0) continue;
      memcpy(y, (const float*)x.data + r * x.dim[1], sizeof(float) * (size_t)x.dim[1]);
      y += x.dim[1];
    }
  }
}

static const Kernel concat_kernel = {1, concat_tasks, concat_run, nullptr, concat_cost, concat_run};

}  // namespace verdant::VERDANT_ISA
