#pragma once
#include "core/op.h"

namespace verdant {

constexpr int64_t kPage = 32;  // tokens of a KV block, as in lib/engine/kv_blocks.ts

// kv_write: k, v (rows, kv_heads * head_dim), keys, values state, table (seqs, blocks) i32, kv_positions (rows) i32,
// seq_ids (rows) i32: stores row r at position p = kv_positions[r] of sequence s, in block table[s][p / page].
//   keys   state (blocks, layers, kv_heads, head_dim, page): lanes are keys, so q k^T needs no horizontal sums
//   values state (blocks, layers, kv_heads, page, head_dim)
// The states travel as rank 2, (blocks, layers * kv_heads * page * head_dim).
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
