#include "ops/pool.h"

namespace verdant::VERDANT_ISA {

constexpr int64_t kPoolRows = 64;  // rows that one sum takes in order; sums of blocks add up in order

static int64_t pool_tasks(const OpCall& call, int32_t) { return call.out[0].dim[0]; }

static int64_t pool_cost(const OpCall& call) { return call.in[0].dim[0] * call.in[0].dim[1]; }

// Columns c .. c + lanes - 1 of rows begin .. end - 1.
static inline Vec pool_columns(const float* x, int64_t cols, int64_t begin, int64_t end, int64_t c, int64_t lanes,
                               int64_t mode) {
  const bool largest = mode == kPoolMax, weighted = mode == kPoolWeighted;
  Vec all = largest ? set1(-INFINITY) : zero(), bad = zero();
  for (int64_t block = begin; block < end; block += kPoolRows) {
    const int64_t last = block + kPoolRows < end ? block + kPoolRows : end;
    Vec sum = zero();
    for (int64_t r = block; r < last; r++) {
      const Vec v = load_part(x + r * cols + c, lanes);
      if (largest) {
        all = max(v, all);
        bad = fma(v, zero(), bad);  // NaN from here on where v is not finite; max may pass over a NaN
      } else {
        sum = weighted ? fma(v, set1((float)(r - begin + 1)), sum) : add(sum, v);
      }
    }
    if (!largest) all = add(all, sum);
  }
  return largest ? select(lt(abs(bad), set1(1.0f)), all, bad) : all;
}

// What a sum over `count` rows is divided by.
static float pool_divisor(int64_t mode, int64_t count) {
  if (mode == kPoolMean) return (float)count;
  if (mode == kPoolSqrt) return sqrtf((float)count);
  return mode == kPoolWeighted ? (float)((double)count * (double)(count + 1) / 2) : 1.0f;
}

static void pool_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t mode = ((const PoolAttrs*)call.attrs)->mode, cols = call.in[0].dim[1];
  const int32_t* starts = (const int32_t*)call.in[1].data;
  const float* x = (const float*)call.in[0].data;
  for (int64_t s = begin; s < end; s++) {
    float* y = (float*)call.out[0].data + s * cols;
    const int64_t from = starts[s], to = starts[s + 1], count = to - from;
    if (count <= 0) {
      memset(y, 0, sizeof(float) * (size_t)cols);
      continue;
    }
    const Vec by = set1(pool_divisor(mode, count));
    each_vec(cols, [=](int64_t c, int64_t lanes) {
      store_part(y + c, div(pool_columns(x, cols, from, to, c, lanes, mode), by), lanes);
    });
  }
}

static const Kernel pool_kernel = {1, pool_tasks, pool_run, nullptr, pool_cost};

}  // namespace verdant::VERDANT_ISA
