#include "ops/kv_write.h"

#include "cuda/fuse.h"
#include "cuda/kv_cache.cuh"

namespace verdant::cuda {

// Column d of a head of row r, in f32 or bf16.
struct KvColumn {
  const float *k, *v;
  KvPlaces to;
  __device__ void operator()(int64_t i) const {
    const int64_t head = i / to.head_dim % to.kv_heads, d = i % to.head_dim;
    const KvSlot at = kv_slot(to.tables, i / (to.kv_heads * to.head_dim));
    if (at.block < 0) return;
    to.key(at, head, d, k[i]);
    to.value(at, head, d, v[i]);
  }
};

// n values as int8 by one warp, `step` bytes apart; gives their scale, max |x| / 127; NaN where one is not finite.
static __device__ __forceinline__ float kv_quantize(const float* x, int64_t n, int8_t* q, int64_t step) {
  float most = 0.0f, bad = 0.0f;
  for (int64_t i = warp_lane(); i < n; i += kWarp) {
    most = fmaxf(most, fabsf(x[i]));
    bad = fmaf(x[i], 0.0f, bad);  // NaN where x is not finite
  }
  most = warp_max(most);
  bad = warp_sum(bad);
  const float inverse = most > 1e-35f ? 127.0f / most : 0.0f;  // its reciprocal is finite
  for (int64_t i = warp_lane(); i < n; i += kWarp)
    q[i * step] = static_cast<int8_t>(fminf(fmaxf(rintf(x[i] * inverse), -127.0f), 127.0f));
  return most * (1.0f / 127.0f) + bad;
}

// q8: one warp per head of a row.
static __global__ void kv_write_q8_kernel(const float* k, const float* v, KvPlaces c, int64_t rows) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * (kElementThreads / kWarp) + warp_index();
  if (i >= rows * c.kv_heads) return;
  const KvSlot at = kv_slot(c.tables, i / c.kv_heads);
  if (at.block < 0) return;
  const int64_t place = c.layer * c.kv_heads + i % c.kv_heads, head_dim = c.head_dim;
  auto* keys = reinterpret_cast<int8_t*>(c.keys + at.block * c.key_block + place * kv_head_bytes(kU8, head_dim, true));
  auto* values =
      reinterpret_cast<int8_t*>(c.values + at.block * c.value_block + place * kv_head_bytes(kU8, head_dim, false));
  k += i * head_dim;
  v += i * head_dim;
  float* key_scales = reinterpret_cast<float*>(keys + head_dim * kPage) + at.slot;
  for (int64_t d = 0; d < head_dim; d += kKvScaleCols) {
    const int64_t n = head_dim - d < kKvScaleCols ? head_dim - d : kKvScaleCols;
    const float scale = kv_quantize(k + d, n, keys + d * kPage + at.slot, kPage);
    if (warp_lane() == 0) key_scales[d / kKvScaleCols * kPage] = scale;
  }
  const float scale = kv_quantize(v, head_dim, values + at.slot * head_dim, 1);
  if (warp_lane() == 0) reinterpret_cast<float*>(values + kPage * head_dim)[at.slot] = scale;
}

void kv_write_rows(const OpCall& call, const Gpu& gpu) {
  const KvPlaces to = kv_places(call);
  const int64_t rows = call.in[0].dim[0];
  const float *k = float_input(call, 0), *v = float_input(call, 1);
  if (call.in[2].dtype == kU8)
    launch(kv_write_q8_kernel, blocks_of(rows * to.kv_heads, kElementThreads / kWarp), kElementThreads, 0, gpu, k, v,
           to, rows);
  else
    each(rows * to.kv_heads * to.head_dim, gpu, KvColumn{k, v, to});
}

struct WriteToken {
  const int32_t* ids;
  int32_t* tokens;
  KvTables tables;
  int64_t page;
  __device__ void operator()(int64_t r) const {
    const KvSlot at = kv_slot(tables, r);
    if (at.block >= 0) tokens[at.block * page + at.slot] = ids[r];
  }
};

static void token_write_run(const OpCall& call, const Gpu& gpu) {
  const Tensor& tokens = call.in[1];
  each(call.in[0].dim[0], gpu,
       WriteToken{int_input(call, 0), static_cast<int32_t*>(tokens.data), kv_tables(call, 2, tokens.dim[0]),
                  tokens.dim[1]});
}

extern const CudaOp kv_write_op, token_write_op;
const CudaOp kv_write_op = {kv_write_rows}, token_write_op = {token_write_run};

}  // namespace verdant::cuda
