// The list of ops. A new op: its header here, one line in each of the two lists, its kernel in cpu/rows/list.h.
#pragma once
#include "ops/attention.h"
#include "ops/concat.h"
#include "ops/conv1d.h"
#include "ops/copy_blocks.h"
#include "ops/elementwise.h"
#include "ops/embed.h"
#include "ops/gather_rows.h"
#include "ops/group_norm.h"
#include "ops/kv_write.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/log_mel.h"
#include "ops/matmul.h"
#include "ops/moe.h"
#include "ops/pool.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/sample.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "ops/token_logprob.h"

namespace verdant {

enum OpId : int32_t {
  kOpEmbed,
  kOpLinear,
  kOpMatmul,
  kOpRmsNorm,
  kOpLayerNorm,
  kOpRopeTable,
  kOpRope,
  kOpKvWrite,
  kOpTokenWrite,
  kOpCopyBlocks,
  kOpAttention,
  kOpSoftmax,
  kOpActivation,
  kOpGated,
  kOpAdd,
  kOpMul,
  kOpScale,
  kOpSoftcap,
  kOpConcat,
  kOpSlice,
  kOpGatherRows,
  kOpSample,
  kOpTokenLogprob,
  kOpPool,
  kOpMoe,
  kOpConv1d,
  kOpGroupNorm,
  kOpLogMel,
  kOpCount,
};

constexpr const OpDef* kOps[kOpCount] = {
    &kEmbedDef,   &kLinearDef,       &kMatmulDef,     &kRmsNormDef,   &kLayerNormDef, &kRopeTableDef,  &kRopeDef,
    &kKvWriteDef, &kTokenWriteDef,   &kCopyBlocksDef, &kAttentionDef, &kSoftmaxDef,   &kActivationDef, &kGatedDef,
    &kAddDef,     &kMulDef,          &kScaleDef,      &kSoftcapDef,   &kConcatDef,    &kSliceDef,      &kGatherRowsDef,
    &kSampleDef,  &kTokenLogprobDef, &kPoolDef,       &kMoeDef,       &kConv1dDef,    &kGroupNormDef,  &kLogMelDef,
};
static_assert(kOpCount <= kMaxOps);

}  // namespace verdant
