#include "ops/softmax.h"

namespace verdant::VERDANT_ISA {

// Largest of a row; a NaN may be passed over, the sum of exponentials finds it.
static inline float row_max(const float* x, int64_t n) {
  const Vec low = set1(-INFINITY);
  Vec m[2] = {low, low};
  int64_t c = 0;
  for (; c + 32 <= n; c += 32) {
    m[0] = max(m[0], load(x + c));
    m[1] = max(m[1], load(x + c + 16));
  }
  for (; c < n; c += 16) m[0] = max(m[0], select(first(n - c), load_part(x + c, n - c), low));
  return reduce_max(max(m[0], m[1]));
}

constexpr int64_t kSumBlock = 4096;  // columns that one f32 tree sums; blocks add up in double, in order

// sum_c exp(x[c] - top); with kStore the exponentials go to y.
template <bool kStore>
static inline double sum_exp(const float* x, float* y, int64_t n, float top) {
  const Vec shift = set1(top);
  double sum = 0;
  for (int64_t b = 0; b < n; b += kSumBlock) {
    const int64_t count = n - b < kSumBlock ? n - b : kSumBlock;
    sum += (double)tree_sum(count, [=](Vec s, int64_t c, int64_t lanes) {
      const Vec e = exp(sub(load_part(x + b + c, lanes), shift));
      if constexpr (kStore) store_part(y + b + c, e, lanes);
      return lanes >= 16 ? add(s, e) : add(s, select(first(lanes), e, zero()));
    });
  }
  return sum;
}

static inline void softmax_row(const float* x, float* y, int64_t cols) {
  const Vec inverse = set1((float)(1.0 / sum_exp<true>(x, y, cols, row_max(x, cols))));
  each_vec(cols, [=](int64_t c, int64_t lanes) { store_part(y + c, mul(load_part(y + c, lanes), inverse), lanes); });
}

static int64_t softmax_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t softmax_cost(const OpCall& call) { return 24 * call.in[0].dim[0] * call.in[0].dim[1]; }

static void softmax_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t cols = call.in[0].dim[1];
  for (int64_t r = begin; r < end; r++)
    softmax_row((const float*)call.in[0].data + r * cols, (float*)call.out[0].data + r * cols, cols);
}

static const Kernel softmax_kernel = {1, softmax_tasks, softmax_run, nullptr, softmax_cost, softmax_run};

}  // namespace verdant::VERDANT_ISA
