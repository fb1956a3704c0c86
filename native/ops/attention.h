#pragma once
#include "core/op.h"

namespace verdant {

constexpr int64_t kKeyChunk = 256;  // keys of a chunk, aligned to the absolute key index; chunks merge left to right

// attention: softmax(scale * q k^T + bias) v per head, over the keys that a row may see.   Vaswani et al. 2017
//   source "cache": q (rows, heads * head_dim), k = keys state, v = values state (layouts of kv_write),
//     starts (seq_bounds) i32: first row of each sequence, table (seqs, blocks) i32, kv_positions (rows) i32.
//     Row r sees keys 0 .. kv_positions[r] of its sequence.
//   source "rows": k, v (key_rows, kv_heads * head_dim), starts (seq_bounds) for q, key_starts? (seq_bounds) for k
//     (absent: as starts). causal: query i of n sees keys 0 .. i + (keys - n). bias? (heads, rows, keys) f32,
//     mask? (rows, keys) u8, nonzero = may see; both only with one sequence.
//   window > 0: only keys less than `window` places from the row's own, itself included.
//   softcap > 0: s = softcap tanh(s / softcap).
//   slopes? (heads) f32: s += slope (key place - own place), ALiBi (Press et al. 2022). relative? (2 d + 1, heads) f32:
//     s += relative[min(max(key place - own place, -d), d) + d], T5 (Raffel et al. 2020). Places count from the first
//     key of a sequence, a causal row's own is its last key; places? (rows) i32 gives them where rows are keys.
//   place_bias? (heads, places) f32: s += place_bias[key place], the last one for places behind it.
//   Query head h reads kv head h / (heads / kv_heads). A row that sees no key gives zeros.
// y (rows, heads * head_dim). probs? (heads, rows, keys) f32: the weights after softmax, zero where unseen.
// Chunks of 256 keys: m_c = max s, p = exp(s - m_c), l_c = sum p, o_c = sum p v, then merged into (m, l, o) in order.
struct AttentionAttrs {
  int64_t source;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t layer;
  int64_t causal;
  int64_t window;
  double scale;
  double softcap;
};
constexpr const char* kAttentionSources[] = {"cache", "rows", nullptr};
constexpr const char* kAttentionIn[] = {"q",           "k",     "v",     "starts",  "table?",    "kv_positions?",
                                        "key_starts?", "bias?", "mask?", "slopes?", "relative?", "places?",
                                        "place_bias?", nullptr};
// Their places in a call.
enum AttentionInput {
  kAttQ,
  kAttK,
  kAttV,
  kAttStarts,
  kAttTable,
  kAttPositions,
  kAttKeyStarts,
  kAttBias,
  kAttMask,
  kAttSlopes,
  kAttRelative,
  kAttPlaces,
  kAttPlaceBias
};

constexpr const char* kAttentionOut[] = {"y", "probs?", nullptr};
constexpr AttrDef kAttentionFields[] = {{"source", kAttrChoice, offsetof(AttentionAttrs, source), kAttentionSources},
                                        {"heads", kAttrInt, offsetof(AttentionAttrs, heads), nullptr},
                                        {"kv_heads", kAttrInt, offsetof(AttentionAttrs, kv_heads), nullptr},
                                        {"head_dim", kAttrInt, offsetof(AttentionAttrs, head_dim), nullptr},
                                        {"layer", kAttrInt, offsetof(AttentionAttrs, layer), nullptr},
                                        {"causal", kAttrBool, offsetof(AttentionAttrs, causal), nullptr},
                                        {"window", kAttrInt, offsetof(AttentionAttrs, window), nullptr},
                                        {"scale", kAttrNumber, offsetof(AttentionAttrs, scale), nullptr},
                                        {"softcap", kAttrNumber, offsetof(AttentionAttrs, softcap), nullptr},
                                        {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kAttentionDef = {"attention", kAttentionIn, kAttentionOut, kAttentionFields, sizeof(AttentionAttrs)};

}  // namespace verdant
