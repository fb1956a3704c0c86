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

// Nearest even; NaN stays NaN.
static inline uint16_t kv_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 64 : rounded);
}

// n values as int8; gives their scale.
static inline float kv_quantize(const float* x, int64_t n, int8_t* q) {
  Vec most = zero(), nothing = zero();
  each_vec(n, [&](int64_t c, int64_t lanes) {
    const Vec v = load_part(x + c, lanes);
    most = max(abs(v), most);
    nothing = fma(v, zero(), nothing);
  });
  const float largest = reduce_max(most), bad = reduce_add(nothing);
  const Vec inverse = set1(largest > 1e-35f ? 127.0f / largest : 0.0f);  // its reciprocal is finite
  each_vec(n, [&](int64_t c, int64_t lanes) {
    int8_t part[16];
    store_s8(part, min(max(round(mul(load_part(x + c, lanes), inverse)), set1(-127.0f)), set1(127.0f)));
    memcpy(q + c, part, (size_t)(lanes < 16 ? lanes : 16));
  });
  return largest * (1.0f / 127.0f) + bad;
}

// One head of row k and v into slot `slot` of its page.
static inline void kv_write_f32(const float* k, const float* v, int64_t head_dim, int64_t slot, float* keys,
                                float* values) {
  for (int64_t d = 0; d < head_dim; d++) keys[d * kPage + slot] = k[d];
  memcpy(values + slot * head_dim, v, sizeof(float) * (size_t)head_dim);
}

static inline void kv_write_bf16(const float* k, const float* v, int64_t head_dim, int64_t slot, uint16_t* keys,
                                 uint16_t* values) {
  keys += 2 * (slot % 16) + slot / 16;
  values += slot / 2 * head_dim * 2 + slot % 2;
  for (int64_t d = 0; d < head_dim; d++) keys[d * kPage] = kv_bf16(k[d]);
  for (int64_t d = 0; d < head_dim; d++) values[2 * d] = kv_bf16(v[d]);
}

static inline void kv_write_q8(const float* k, const float* v, int64_t head_dim, int64_t slot, int8_t* keys,
                               int8_t* values) {
  float* key_scales = (float*)(keys + head_dim * kPage) + slot;
  for (int64_t d = 0; d < head_dim; d += kKvScaleCols, key_scales += kPage) {
    const int64_t n = head_dim - d < kKvScaleCols ? head_dim - d : kKvScaleCols;
    int8_t q[kKvScaleCols];
    *key_scales = kv_quantize(k + d, n, q);
    for (int64_t i = 0; i < n; i++) keys[(d + i) * kPage + slot] = q[i];
  }
  ((float*)(values + kPage * head_dim))[slot] = kv_quantize(v, head_dim, values + slot * head_dim);
}

static int64_t kv_write_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t kv_write_cost(const OpCall& call) {
  return (call.in[2].dtype == kF32 ? 4 : 8) * call.in[0].dim[0] * call.in[0].dim[1];
}

// The slots of one key lie a line or more apart and have left the cache since the last step: fetched together, not one
// after the other by the stores.
static inline void kv_fetch_slots(const uint8_t* keys, int64_t lines, int64_t element, int64_t slot) {
  const uint8_t* at = keys + (element == 2 ? 2 * (slot % 16) + slot / 16 : slot) * element;
  for (int64_t i = 0; i < lines; i++) prefetch(at + i * kPage * element);
}

static void kv_write_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const KvWriteAttrs& a = *(const KvWriteAttrs*)call.attrs;
  const Tensor &keys = call.in[2], &values = call.in[3];
  const DType type = keys.dtype;
  const int64_t key_bytes = kv_head_bytes(type, a.head_dim, true), value_bytes = kv_head_bytes(type, a.head_dim, false);
  const int64_t element = kv_element_bytes(type), heads = a.kv_heads;
  for (int64_t r = begin; r < end; r++) {
    const KvSlot at = kv_slot(call.in[4], call.in[5], call.in[6], keys.dim[0], r);
    if (at.block < 0) continue;
    const float* k = (const float*)call.in[0].data + r * heads * a.head_dim;
    const float* v = (const float*)call.in[1].data + r * heads * a.head_dim;
    uint8_t* to_keys = (uint8_t*)keys.data + at.block * keys.dim[1] * element + a.layer * heads * key_bytes;
    uint8_t* to_values = (uint8_t*)values.data + at.block * values.dim[1] * element + a.layer * heads * value_bytes;
    for (int64_t h = 0; h < heads; h++) kv_fetch_slots(to_keys + h * key_bytes, a.head_dim, element, at.slot);
    for (int64_t h = 0; h < heads; h++, k += a.head_dim, v += a.head_dim) {
      uint8_t *key_page = to_keys + h * key_bytes, *value_page = to_values + h * value_bytes;
      if (type == kF32) kv_write_f32(k, v, a.head_dim, at.slot, (float*)key_page, (float*)value_page);
      if (type == kBF16) kv_write_bf16(k, v, a.head_dim, at.slot, (uint16_t*)key_page, (uint16_t*)value_page);
      if (type == kU8) kv_write_q8(k, v, a.head_dim, at.slot, (int8_t*)key_page, (int8_t*)value_page);
    }
  }
}

static const Kernel kv_write_kernel = {1, kv_write_tasks, kv_write_run, nullptr, kv_write_cost, kv_write_run};

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

static const Kernel token_write_kernel = {1,       token_write_tasks, token_write_run,
                                          nullptr, token_write_cost,  token_write_run};

}  // namespace verdant::VERDANT_ISA
