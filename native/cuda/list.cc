#include "cuda/list.h"

namespace verdant::cuda {

extern const CudaOp activation_op;
extern const CudaOp add_op;
extern const CudaOp attention_op;
extern const CudaOp concat_op;
extern const CudaOp conv1d_op;
extern const CudaOp copy_blocks_op;
extern const CudaOp embed_op;
extern const CudaOp gated_op;
extern const CudaOp gather_rows_op;
extern const CudaOp group_norm_op;
extern const CudaOp kv_write_op;
extern const CudaOp layer_norm_op;
extern const CudaOp linear_op;
extern const CudaOp log_mel_op;
extern const CudaOp matmul_op;
extern const CudaOp moe_op;
extern const CudaOp mul_op;
extern const CudaOp pool_op;
extern const CudaOp rms_norm_op;
extern const CudaOp rope_op;
extern const CudaOp rope_table_op;
extern const CudaOp sample_op;
extern const CudaOp scale_op;
extern const CudaOp slice_op;
extern const CudaOp softcap_op;
extern const CudaOp softmax_op;
extern const CudaOp token_logprob_op;
extern const CudaOp token_write_op;

const CudaOp& cuda_op(int32_t id) {
  static const CudaOp none{};
  switch (id) {
    case kOpActivation:
      return activation_op;
    case kOpAdd:
      return add_op;
    case kOpAttention:
      return attention_op;
    case kOpConcat:
      return concat_op;
    case kOpConv1d:
      return conv1d_op;
    case kOpCopyBlocks:
      return copy_blocks_op;
    case kOpEmbed:
      return embed_op;
    case kOpGated:
      return gated_op;
    case kOpGatherRows:
      return gather_rows_op;
    case kOpGroupNorm:
      return group_norm_op;
    case kOpKvWrite:
      return kv_write_op;
    case kOpLayerNorm:
      return layer_norm_op;
    case kOpLinear:
      return linear_op;
    case kOpLogMel:
      return log_mel_op;
    case kOpMatmul:
      return matmul_op;
    case kOpMoe:
      return moe_op;
    case kOpMul:
      return mul_op;
    case kOpPool:
      return pool_op;
    case kOpRmsNorm:
      return rms_norm_op;
    case kOpRope:
      return rope_op;
    case kOpRopeTable:
      return rope_table_op;
    case kOpSample:
      return sample_op;
    case kOpScale:
      return scale_op;
    case kOpSlice:
      return slice_op;
    case kOpSoftcap:
      return softcap_op;
    case kOpSoftmax:
      return softmax_op;
    case kOpTokenLogprob:
      return token_logprob_op;
    case kOpTokenWrite:
      return token_write_op;
    default:
      return none;
  }
}

}  // namespace verdant::cuda
