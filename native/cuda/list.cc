#include "cuda/list.h"

namespace verdant::cuda {

extern const CudaOp activation_op;
extern const CudaOp add_op;
extern const CudaOp gated_op;
extern const CudaOp linear_op;
extern const CudaOp conv1d_op;
extern const CudaOp moe_op;
extern const CudaOp mul_op;
extern const CudaOp rms_norm_op;
extern const CudaOp scale_op;
extern const CudaOp softcap_op;
extern const CudaOp softmax_op;

const CudaOp& cuda_op(int32_t id) {
  static const CudaOp none{};
  switch (id) {
    case kOpRmsNorm:
      return rms_norm_op;
    case kOpSoftmax:
      return softmax_op;
    case kOpActivation:
      return activation_op;
    case kOpGated:
      return gated_op;
    case kOpAdd:
      return add_op;
    case kOpMul:
      return mul_op;
    case kOpScale:
      return scale_op;
    case kOpSoftcap:
      return softcap_op;
    case kOpLinear:
      return linear_op;
    case kOpConv1d:
      return conv1d_op;
    case kOpMoe:
      return moe_op;
    default:
      return none;
  }
}

}  // namespace verdant::cuda
