#include "ops/kv_write.h"

namespace verdant::VERDANT_ISA {

// Where row r of the step goes: its block and the slot within. block < 0: nowhere, because its sequence, position or
// block lies outside the tables; the caller checks, memory stays safe.
struct KvSlot {
  int64_t block;
  int64_t slot;
};

static inline KvSlot kv_slot(const Tensor& table, const Tensor& kv_positions, const Tensor& seq_ids, int64_t blocks,
                             int64_t r) {
  const int64_t position = ((const int32_t*)kv_positions.data)[r], seq = ((const int32_t*)seq_ids.data)[r];
  const int64_t column = position / kPage;
  if (position < 0 || seq < 0 || seq >= table.dim[0] || column >= table.dim[1]) return {-1, 0};
  const int64_t block = ((const int32_t*)table.data)[seq * table.dim[1] + column];
  return {block < blocks ? block : -1, position % kPage};
}

static int64_t kv_write_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t kv_write_cost(const OpCall& call) { return 4 * call.in[0].dim[0] * call.in[0].dim[1]; }

static void kv_write_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const KvWriteAttrs& a = *(const KvWriteAttrs*)call.attrs;
  const Tensor &keys = call.in[2], &values = call.in[3];
  const int64_t width = a.kv_heads * a.head_dim, layer = a.layer * width * kPage;
  for (int64_t r = begin; r < end; r++) {
    const KvSlot at = kv_slot(call.in[4], call.in[5], call.in[6], keys.dim[0], r);
    if (at.block < 0) continue;
    const float* k = (const float*)call.in[0].data + r * width;
    const float* v = (const float*)call.in[1].data + r * width;
    float* to_keys = (float*)keys.data + at.block * keys.dim[1] + layer + at.slot;
    float* to_values = (float*)values.data + at.block * values.dim[1] + layer + at.slot * a.head_dim;
    for (int64_t i = 0; i < width; i++) to_keys[i * kPage] = k[i];  // i runs over (kv_heads, head_dim)
    for (int64_t h = 0; h < a.kv_heads; h++)
      memcpy(to_values + h * kPage * a.head_dim, v + h * a.head_dim, sizeof(float) * (size_t)a.head_dim);
  }
}

static const Kernel kv_write_kernel = {1, kv_write_tasks, kv_write_run, nullptr, kv_write_cost};

static int64_t token_write_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t token_write_cost(const OpCall& call) { return 8 * call.in[0].dim[0]; }

static void token_write_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const Tensor& tokens = call.in[1];
  for (int64_t r = begin; r < end; r++) {
    const KvSlot at = kv_slot(call.in[2], call.in[3], call.in[4], tokens.dim[0], r);
    if (at.block < 0) continue;
    ((int32_t*)tokens.data)[at.block * tokens.dim[1] + at.slot] = ((const int32_t*)call.in[0].data)[r];
  }
}

static const Kernel token_write_kernel = {1, token_write_tasks, token_write_run, nullptr, token_write_cost};

}  // namespace verdant::VERDANT_ISA
