// The kernels of the CUDA device, by op.
#pragma once
#include "cuda/op.h"

namespace verdant::cuda {

// Null run: the device has no kernel for this op.
const CudaOp& cuda_op(int32_t id);

}  // namespace verdant::cuda
