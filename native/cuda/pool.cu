#include "ops/pool.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int64_t kPoolBlock = 64;  // rows of a sequence whose sum is added to the others' at once

// One column of one sequence; neighbouring threads take neighbouring columns.
struct PoolColumn {
  const float* x;
  const int32_t* starts;
  float* y;
  int64_t cols, mode;

  __device__ float divisor(int64_t count) const {
    if (mode == kPoolMean) return static_cast<float>(count);
    if (mode == kPoolSqrt) return sqrtf(static_cast<float>(count));
    return mode == kPoolWeighted ? static_cast<float>(static_cast<double>(count) * static_cast<double>(count + 1) / 2.0)
                                 : 1.0f;
  }
  __device__ void operator()(int64_t i) const {
    const int64_t s = i / cols, begin = starts[s], end = starts[s + 1];
    const float* column = x + i % cols;
    if (begin >= end) {
      y[i] = 0.0f;
      return;
    }
    float all = mode == kPoolMax ? -INFINITY : 0.0f;
    bool finite = true;
    for (int64_t block = begin; block < end; block += kPoolBlock) {
      const int64_t last = block + kPoolBlock < end ? block + kPoolBlock : end;
      float sum = 0.0f;
      for (int64_t r = block; r < last; r++) {
        const float v = column[r * cols];
        if (mode == kPoolMax) {
          all = fmaxf(all, v);
          finite = finite && fabsf(v) < INFINITY;
        } else {
          sum = mode == kPoolWeighted ? fmaf(v, static_cast<float>(r - begin + 1), sum) : sum + v;
        }
      }
      if (mode != kPoolMax) all += sum;
    }
    y[i] = finite ? all / divisor(end - begin) : NAN;
  }
};

static void pool_run(const OpCall& call, const Gpu& gpu) {
  each(count_of(call.out[0]), gpu,
       PoolColumn{float_input(call, 0), int_input(call, 1), float_output(call), call.in[0].dim[1],
                  static_cast<const PoolAttrs*>(call.attrs)->mode});
}

extern const CudaOp pool_op;
const CudaOp pool_op = {pool_run};

}  // namespace verdant::cuda
