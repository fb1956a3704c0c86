// Where the keys and values of a row lie in the cache (layouts: ops/kv_write.h).
#pragma once
#include "cuda/launch.cuh"
#include "ops/kv_write.h"

namespace verdant::cuda {

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

}  // namespace verdant::cuda
