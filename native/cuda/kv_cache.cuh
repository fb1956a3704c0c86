// Where the keys and values of a row lie in the cache. Pages are those of ops/kv_write.h but for bf16 heads of up to
// kTileHead columns, a multiple of 8: keys (page, head_dim), values (head_dim, page), as tensor cores take them.
#pragma once
#include "cuda/numbers.cuh"
#include "cuda/rows.cuh"
#include "ops/kv_write.h"

namespace verdant::cuda {

constexpr int kTileHead = 256;
static constexpr bool kv_in_tiles(DType type, int64_t head_dim) {
  return type == kBF16 && head_dim % 8 == 0 && head_dim <= kTileHead;
}

// Device views of what kv_write and token_write index with.
struct KvTables {
  const int32_t *table, *positions, *seq_ids;
  int64_t sequences, columns;  // of table
  int64_t blocks;              // of the state
};

// Block and slot of row r; block < 0: nowhere, because its sequence, position or block lies outside the tables.
struct KvSlot {
  int64_t block, slot;
};
static __device__ __forceinline__ KvSlot kv_slot(const KvTables& t, int64_t r) {
  const int64_t position = t.positions[r], seq = t.seq_ids[r], column = position / kPage;
  if (position < 0 || seq < 0 || seq >= t.sequences || column >= t.columns) return {-1, 0};
  const int64_t block = t.table[seq * t.columns + column];
  return {block < t.blocks ? block : -1, position % kPage};
}

static inline KvTables kv_tables(const OpCall& call, int first, int64_t blocks) {
  return {int_input(call, first), int_input(call, first + 1), int_input(call, first + 2),
          call.in[first].dim[0],  call.in[first].dim[1],      blocks};
}

// As bf16; a NaN keeps its upper bits.
static __device__ __forceinline__ uint16_t kv_bf16(float x) {
  return static_cast<uint16_t>(x == x ? bf16_pair(x, 0.0f) : __float_as_uint(x) >> 16 | 64);
}

// The cache that a kv_write writes.
struct KvPlaces {
  uint8_t *keys, *values;
  KvTables tables;
  int64_t kv_heads, head_dim, layer;
  int64_t key_block, value_block;  // bytes of a block of the states
  bool half, tiles;                // bf16, else f32 in `key` and `value`; bf16 in tiles

  __device__ __forceinline__ int64_t head_bytes(bool of_keys) const {
    return half ? kv_head_bytes(kBF16, head_dim, of_keys) : kv_head_bytes(kF32, head_dim, of_keys);
  }
  // Column d of a head.
  __device__ __forceinline__ void key(const KvSlot& at, int64_t head, int64_t d, float x) const {
    uint8_t* page = keys + at.block * key_block + (layer * kv_heads + head) * head_bytes(true);
    if (tiles)
      reinterpret_cast<uint16_t*>(page)[at.slot * head_dim + d] = kv_bf16(x);
    else if (half)
      reinterpret_cast<uint16_t*>(page)[d * kPage + 2 * (at.slot % 16) + at.slot / 16] = kv_bf16(x);
    else
      reinterpret_cast<float*>(page)[d * kPage + at.slot] = x;
  }
  __device__ __forceinline__ void value(const KvSlot& at, int64_t head, int64_t d, float x) const {
    uint8_t* page = values + at.block * value_block + (layer * kv_heads + head) * head_bytes(false);
    if (tiles)
      reinterpret_cast<uint16_t*>(page)[d * kPage + at.slot] = kv_bf16(x);
    else if (half)
      reinterpret_cast<uint16_t*>(page)[(at.slot / 2 * head_dim + d) * 2 + at.slot % 2] = kv_bf16(x);
    else
      reinterpret_cast<float*>(page)[at.slot * head_dim + d] = x;
  }
};

static inline KvPlaces kv_places(const OpCall& call) {
  const auto& a = *static_cast<const KvWriteAttrs*>(call.attrs);
  const Tensor &keys = call.in[2], &values = call.in[3];
  const int64_t element = kv_element_bytes(keys.dtype);
  return {static_cast<uint8_t*>(keys.data),
          static_cast<uint8_t*>(values.data),
          kv_tables(call, 4, keys.dim[0]),
          a.kv_heads,
          a.head_dim,
          a.layer,
          element * keys.dim[1],
          element * values.dim[1],
          keys.dtype == kBF16,
          kv_in_tiles(keys.dtype, a.head_dim)};
}

}  // namespace verdant::cuda
