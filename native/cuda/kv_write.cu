#include "ops/kv_write.h"

#include "cuda/kv_cache.cuh"
#include "cuda/numbers.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

static KvTables tables_of(const OpCall& call, int first, int64_t blocks) {
  return {int_input(call, first), int_input(call, first + 1), int_input(call, first + 2),
          call.in[first].dim[0],  call.in[first].dim[1],      blocks};
}

// As bf16; a NaN keeps its upper bits.
static __device__ __forceinline__ uint16_t kv_bf16(float x) {
  return static_cast<uint16_t>(x == x ? bf16_pair(x, 0.0f) : __float_as_uint(x) >> 16 | 64);
}

// Column d of a head of row r, in f32 or bf16.
struct KvColumn {
  const float *k, *v;
  uint8_t *keys, *values;
  KvTables tables;
  int64_t kv_heads, head_dim, layer;
  int64_t key_block, value_block;  // bytes of a block of the states
  bool half;                       // bf16

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / (kv_heads * head_dim), head = i / head_dim % kv_heads, d = i % head_dim;
    const KvSlot at = kv_slot(tables, row);
    if (at.block < 0) return;
    const DType type = half ? kBF16 : kF32;
    const int64_t place = layer * kv_heads + head;
    uint8_t* key_page = keys + at.block * key_block + place * kv_head_bytes(type, head_dim, true);
    uint8_t* value_page = values + at.block * value_block + place * kv_head_bytes(type, head_dim, false);
    if (!half) {
      reinterpret_cast<float*>(key_page)[d * kPage + at.slot] = k[i];
      reinterpret_cast<float*>(value_page)[at.slot * head_dim + d] = v[i];
      return;
    }
    reinterpret_cast<uint16_t*>(key_page)[d * kPage + 2 * (at.slot % 16) + at.slot / 16] = kv_bf16(k[i]);
    reinterpret_cast<uint16_t*>(value_page)[(at.slot / 2 * head_dim + d) * 2 + at.slot % 2] = kv_bf16(v[i]);
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
static __global__ void kv_write_q8_kernel(KvColumn c, int64_t rows) {
  const int64_t i = int64_t{blockIdx.x} * (kElementThreads / kWarp) + warp_index();
  if (i >= rows * c.kv_heads) return;
  const KvSlot at = kv_slot(c.tables, i / c.kv_heads);
  if (at.block < 0) return;
  const int64_t place = c.layer * c.kv_heads + i % c.kv_heads, head_dim = c.head_dim;
  auto* keys = reinterpret_cast<int8_t*>(c.keys + at.block * c.key_block + place * kv_head_bytes(kU8, head_dim, true));
  auto* values =
      reinterpret_cast<int8_t*>(c.values + at.block * c.value_block + place * kv_head_bytes(kU8, head_dim, false));
  const float *k = c.k + i * head_dim, *v = c.v + i * head_dim;
  float* key_scales = reinterpret_cast<float*>(keys + head_dim * kPage) + at.slot;
  for (int64_t d = 0; d < head_dim; d += kKvScaleCols) {
    const int64_t n = head_dim - d < kKvScaleCols ? head_dim - d : kKvScaleCols;
    const float scale = kv_quantize(k + d, n, keys + d * kPage + at.slot, kPage);
    if (warp_lane() == 0) key_scales[d / kKvScaleCols * kPage] = scale;
  }
  const float scale = kv_quantize(v, head_dim, values + at.slot * head_dim, 1);
  if (warp_lane() == 0) reinterpret_cast<float*>(values + kPage * head_dim)[at.slot] = scale;
}

static void kv_write_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const KvWriteAttrs*>(call.attrs);
  const Tensor &keys = call.in[2], &values = call.in[3];
  const int64_t element = kv_element_bytes(keys.dtype), rows = call.in[0].dim[0];
  const KvColumn column = {float_input(call, 0),
                           float_input(call, 1),
                           static_cast<uint8_t*>(keys.data),
                           static_cast<uint8_t*>(values.data),
                           tables_of(call, 4, keys.dim[0]),
                           a.kv_heads,
                           a.head_dim,
                           a.layer,
                           element * keys.dim[1],
                           element * values.dim[1],
                           keys.dtype == kBF16};
  if (keys.dtype == kU8)
    launch(kv_write_q8_kernel, blocks_of(rows * a.kv_heads, kElementThreads / kWarp), kElementThreads, 0, gpu, column,
           rows);
  else
    each(rows * a.kv_heads * a.head_dim, gpu, column);
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
       WriteToken{int_input(call, 0), static_cast<int32_t*>(tokens.data), tables_of(call, 2, tokens.dim[0]),
                  tokens.dim[1]});
}

extern const CudaOp kv_write_op, token_write_op;
const CudaOp kv_write_op = {kv_write_run}, token_write_op = {token_write_run};

}  // namespace verdant::cuda
