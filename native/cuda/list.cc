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

namespace {

struct OpTable {
  const CudaOp* op[kOpCount] = {};  // by op id
  OpTable() {
    op[kOpActivation] = &activation_op;
    op[kOpAdd] = &add_op;
    op[kOpAttention] = &attention_op;
    op[kOpConcat] = &concat_op;
    op[kOpConv1d] = &conv1d_op;
    op[kOpCopyBlocks] = &copy_blocks_op;
    op[kOpEmbed] = &embed_op;
    op[kOpGated] = &gated_op;
    op[kOpGatherRows] = &gather_rows_op;
    op[kOpGroupNorm] = &group_norm_op;
    op[kOpKvWrite] = &kv_write_op;
    op[kOpLayerNorm] = &layer_norm_op;
    op[kOpLinear] = &linear_op;
    op[kOpLogMel] = &log_mel_op;
    op[kOpMatmul] = &matmul_op;
    op[kOpMoe] = &moe_op;
    op[kOpMul] = &mul_op;
    op[kOpPool] = &pool_op;
    op[kOpRmsNorm] = &rms_norm_op;
    op[kOpRope] = &rope_op;
    op[kOpRopeTable] = &rope_table_op;
    op[kOpSample] = &sample_op;
    op[kOpScale] = &scale_op;
    op[kOpSlice] = &slice_op;
    op[kOpSoftcap] = &softcap_op;
    op[kOpSoftmax] = &softmax_op;
    op[kOpTokenLogprob] = &token_logprob_op;
    op[kOpTokenWrite] = &token_write_op;
  }
};

}  // namespace

const CudaOp& cuda_op(int32_t id) {
  static const OpTable table;
  static const CudaOp none{};
  const CudaOp* op = id >= 0 && id < kOpCount ? table.op[id] : nullptr;
  return op != nullptr ? *op : none;
}

}  // namespace verdant::cuda
