// All kernels, written once over Vec. An ISA file defines VERDANT_ISA and includes this inside its own translation
// unit.
#include "core/op.h"
#include "cpu/overlays.h"
#include "ops/list.h"

#include "cpu/rows/math.h"
#include "cpu/rows/row_forms.h"

#include "cpu/rows/attention.h"
#include "cpu/rows/concat.h"
#include "cpu/rows/conv1d.h"
#include "cpu/rows/copy_blocks.h"
#include "cpu/rows/elementwise.h"
#include "cpu/rows/embed.h"
#include "cpu/rows/gather_rows.h"
#include "cpu/rows/group_norm.h"
#include "cpu/rows/kv_write.h"
#include "cpu/rows/layer_norm.h"
#include "cpu/rows/linear.h"
#include "cpu/rows/log_mel.h"
#include "cpu/rows/matmul.h"
#include "cpu/rows/pool.h"
#include "cpu/rows/rms_norm.h"
#include "cpu/rows/rope.h"
#include "cpu/rows/sample.h"
#include "cpu/rows/slice.h"
#include "cpu/rows/softmax.h"
#include "cpu/rows/token_logprob.h"

#include "cpu/rows/moe.h"

namespace verdant::VERDANT_ISA {

static void fill(KernelTable& table) {
  table.op[kOpEmbed] = embed_kernel;
  table.op[kOpLinear] = linear_kernel;
  table.op[kOpMatmul] = matmul_kernel;
  table.op[kOpRmsNorm] = rms_norm_kernel;
  table.op[kOpLayerNorm] = layer_norm_kernel;
  table.op[kOpRopeTable] = rope_table_kernel;
  table.op[kOpRope] = rope_kernel;
  table.op[kOpKvWrite] = kv_write_kernel;
  table.op[kOpTokenWrite] = token_write_kernel;
  table.op[kOpCopyBlocks] = copy_blocks_kernel;
  table.op[kOpAttention] = attention_kernel;
  table.op[kOpSoftmax] = softmax_kernel;
  table.op[kOpActivation] = activation_kernel;
  table.op[kOpGated] = gated_kernel;
  table.op[kOpAdd] = add_kernel;
  table.op[kOpMul] = mul_kernel;
  table.op[kOpScale] = scale_kernel;
  table.op[kOpSoftcap] = softcap_kernel;
  table.op[kOpConcat] = concat_kernel;
  table.op[kOpSlice] = slice_kernel;
  table.op[kOpGatherRows] = gather_rows_kernel;
  table.op[kOpSample] = sample_kernel;
  table.op[kOpTokenLogprob] = token_logprob_kernel;
  table.op[kOpPool] = pool_kernel;
  table.op[kOpMoe] = moe_kernel;
  table.op[kOpConv1d] = conv1d_kernel;
  table.op[kOpGroupNorm] = group_norm_kernel;
  table.op[kOpLogMel] = log_mel_kernel;
  fill_dots(table);
}

}  // namespace verdant::VERDANT_ISA
