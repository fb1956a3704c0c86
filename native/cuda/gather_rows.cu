#include "ops/gather_rows.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

struct GatherRow {
  const float* x;
  const int32_t* index;
  float* y;
  int64_t rows, cols;
  __device__ void operator()(int64_t i) const {
    const int64_t from = index[i / cols];
    y[i] = from < 0 || from >= rows ? NAN : x[from * cols + i % cols];
  }
};

static void gather_rows_run(const OpCall& call, const Gpu& gpu) {
  each(count_of(call.out[0]), gpu,
       GatherRow{float_input(call, 0), int_input(call, 1), float_output(call), call.in[0].dim[0], call.in[0].dim[1]});
}

extern const CudaOp gather_rows_op;
const CudaOp gather_rows_op = {gather_rows_run};

}  // namespace verdant::cuda
