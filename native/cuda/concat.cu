#include "ops/concat.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

// Columns of one input to where they stand in y.
struct PlaceColumns {
  const float* x;
  float* y;
  int64_t cols, y_cols;
  __device__ void operator()(int64_t i) const { y[i / cols * y_cols + i % cols] = x[i]; }
};

static void concat_run(const OpCall& call, const Gpu& gpu) {
  float* y = float_output(call);
  for (int32_t i = 0; i < call.in_count; i++) {
    const Tensor& x = call.in[i];
    if (x.data == nullptr || x.dim[1] == 0) continue;
    each(count_of(x), gpu, PlaceColumns{float_input(call, i), y, x.dim[1], call.out[0].dim[1]});
    y += x.dim[1];
  }
}

extern const CudaOp concat_op;
const CudaOp concat_op = {concat_run};

}  // namespace verdant::cuda
