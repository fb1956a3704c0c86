#include "ops/rms_norm.h"

namespace verdant::VERDANT_ISA {

static inline float sum_squares(const float* x, int64_t n) {
  return tree_sum(n, [=](Vec s, int64_t c, int64_t lanes) {
    const Vec v = load_part(x + c, lanes);
    return fma(v, v, s);
  });
}

static int64_t rms_norm_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t rms_norm_cost(const OpCall& call) { return 3 * call.in[0].dim[0] * call.in[0].dim[1]; }

static void rms_norm_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const RmsNormAttrs& a = *(const RmsNormAttrs*)call.attrs;
  const int64_t cols = call.in[0].dim[1], group = call.in[1].dim[0];
  if (group <= 0) return;
  const float* weight = (const float*)call.in[1].data;
  const Vec offset = set1((float)a.offset);
  for (int64_t r = begin; r < end; r++) {
    for (int64_t g = 0; g < cols; g += group) {
      const float* x = (const float*)call.in[0].data + r * cols + g;
      float* y = (float*)call.out[0].data + r * cols + g;
      const float mean = sum_squares(x, group) / (float)group;
      const Vec inverse = set1(1.0f / sqrtf(mean + (float)a.eps));
      each_vec(group, [=](int64_t c, int64_t lanes) {
        const Vec w = add(offset, load_part(weight + c, lanes));
        store_part(y + c, mul(mul(load_part(x + c, lanes), inverse), w), lanes);
      });
    }
  }
}

static const Kernel rms_norm_kernel = {1, rms_norm_tasks, rms_norm_run, nullptr, rms_norm_cost, rms_norm_run};

}  // namespace verdant::VERDANT_ISA
