#pragma once
#include "core/op.h"

namespace verdant {

constexpr int64_t kPage = 32;  // tokens of a KV block, as in lib/engine/kv_blocks.ts

constexpr int64_t kKvScaleCols = 32;  // columns of a key that share a scale

static constexpr int64_t kv_element_bytes(DType type) { return type == kU8 ? 1 : type == kBF16 ? 2 : 4; }

// Bytes of a head's keys, or values, in a page; as kvHeadSize of lib/ops/kv_write.ts.
static constexpr int64_t kv_head_bytes(DType type, int64_t head_dim, bool keys) {
  const int64_t scales = type != kU8 ? 0 : keys ? (head_dim + kKvScaleCols - 1) / kKvScaleCols : 1;
  return kPage * (kv_element_bytes(type) * head_dim + 4 * scales);
}

// kv_write: k, v (rows, kv_heads * head_dim), keys, values state, table (seqs, blocks) i32, kv_positions (rows) i32,
// seq_ids (rows) i32: stores row r at position p = kv_positions[r] of sequence s, in block table[s][p / page].
//   keys   state (blocks, layers, kv_heads, head's keys of a page): lanes are keys, so q k^T needs no horizontal sums
//   values state (blocks, layers, kv_heads, head's values of a page)
// The dtype of both states says what a head's page holds; rounding is to nearest even:
//   f32    keys (head_dim, page), values (page, head_dim)
//   bf16   keys (head_dim, page / 2, 2): keys n and n + 16 share a word; values (page / 2, head_dim, 2)
//   u8: q8 keys (head_dim, page) int8, then f32 scales (ceil(head_dim / 32), page): one for each key and 32 columns;
//          values (page, head_dim) int8, then f32 scales (page). Scale = max |x| / 127 of its values; NaN if one is not
//          finite.
// The states travel as rank 2, (blocks, elements of a block).
struct KvWriteAttrs {
  int64_t layer;  // within the group
  int64_t kv_heads;
  int64_t head_dim;
};
constexpr const char* kKvWriteIn[] = {"k", "v", "keys", "values", "table", "kv_positions", "seq_ids", nullptr};
constexpr const char* kKvWriteOut[] = {nullptr};
constexpr AttrDef kKvWriteFields[] = {{"layer", kAttrInt, offsetof(KvWriteAttrs, layer), nullptr},
                                      {"kv_heads", kAttrInt, offsetof(KvWriteAttrs, kv_heads), nullptr},
                                      {"head_dim", kAttrInt, offsetof(KvWriteAttrs, head_dim), nullptr},
                                      {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kKvWriteDef = {"kv_write", kKvWriteIn, kKvWriteOut, kKvWriteFields, sizeof(KvWriteAttrs)};

// token_write: ids (rows) i32, tokens state (blocks, page) i32, table, kv_positions, seq_ids as above.
struct TokenWriteAttrs {
  int64_t unused;
};
constexpr const char* kTokenWriteIn[] = {"ids", "tokens", "table", "kv_positions", "seq_ids", nullptr};
constexpr const char* kTokenWriteOut[] = {nullptr};
constexpr AttrDef kTokenWriteFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kTokenWriteDef = {"token_write", kTokenWriteIn, kTokenWriteOut, kTokenWriteFields,
                                  sizeof(TokenWriteAttrs)};

}  // namespace verdant
