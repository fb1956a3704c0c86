#include "ops/slice.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

struct TakeColumns {
  const float* x;
  float* y;
  int64_t x_cols, cols, begin;
  __device__ void operator()(int64_t i) const { y[i] = x[i / cols * x_cols + begin + i % cols]; }
};

static void slice_run(const OpCall& call, const Gpu& gpu) {
  each(count_of(call.out[0]), gpu,
       TakeColumns{float_input(call, 0), float_output(call), call.in[0].dim[1], call.out[0].dim[1],
                   static_cast<const SliceAttrs*>(call.attrs)->begin});
}

extern const CudaOp slice_op;
const CudaOp slice_op = {slice_run};

}  // namespace verdant::cuda
