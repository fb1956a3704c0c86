#include "ops/layer_norm.h"

namespace verdant::VERDANT_ISA {

static int64_t layer_norm_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t layer_norm_cost(const OpCall& call) { return 8 * call.in[0].dim[0] * call.in[0].dim[1]; }

// The mean is found twice, the second time of x - mean, which removes the rounding of the first; the variance is that
// of the differences. Nothing cancels when the mean is large.
static void layer_norm_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const LayerNormAttrs& a = *(const LayerNormAttrs*)call.attrs;
  const int64_t cols = call.in[0].dim[1];
  const float* weight = (const float*)call.in[1].data;
  const float* bias = (const float*)call.in[2].data;
  for (int64_t r = begin; r < end; r++) {
    const float* x = (const float*)call.in[0].data + r * cols;
    float* y = (float*)call.out[0].data + r * cols;
    const float sum = tree_sum(cols, [=](Vec s, int64_t c, int64_t lanes) { return add(s, load_part(x + c, lanes)); });
    const Vec mean = set1(sum / (float)cols);
    const float rest = tree_sum(cols, [=](Vec s, int64_t c, int64_t lanes) {
      return add(s, select(first(lanes), sub(load_part(x + c, lanes), mean), zero()));
    });
    const Vec residual = set1(rest / (float)cols);
    const float squares = tree_sum(cols, [=](Vec s, int64_t c, int64_t lanes) {
      const Vec d = select(first(lanes), sub(sub(load_part(x + c, lanes), mean), residual), zero());
      return fma(d, d, s);
    });
    const Vec inverse = set1(1.0f / sqrtf(squares / (float)cols + (float)a.eps));
    each_vec(cols, [=](int64_t c, int64_t lanes) {
      const Vec normed = mul(sub(sub(load_part(x + c, lanes), mean), residual), inverse);
      const Vec b = bias == nullptr ? zero() : load_part(bias + c, lanes);
      store_part(y + c, fma(normed, load_part(weight + c, lanes), b), lanes);
    });
  }
}

static const Kernel layer_norm_kernel = {1, layer_norm_tasks, layer_norm_run, nullptr, layer_norm_cost, layer_norm_run};

}  // namespace verdant::VERDANT_ISA
