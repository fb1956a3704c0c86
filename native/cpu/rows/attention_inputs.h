// What attention reads: its inputs, pieces of rows, keys and values in pages, and the state of each query.
#include "cpu/rows/attention_tile.h"

namespace verdant::VERDANT_ISA {

static inline const void* attention_input(const OpCall& call, AttentionInput i) {
  return i < call.in_count ? call.in[i].data : nullptr;
}
static inline bool attention_cached(const OpCall& call) { return ((const AttentionAttrs*)call.attrs)->source == 0; }
static inline const int32_t* attention_key_starts(const OpCall& call) {
  const void* own = attention_input(call, kAttKeyStarts);
  return (const int32_t*)(own ? own : call.in[kAttStarts].data);
}
static inline int64_t attention_sequences(const OpCall& call) {
  const int64_t bounds = call.in[kAttStarts].dim[0];
  return bounds > 0 ? bounds - 1 : 0;
}

// Rows of sequence s are cut every `size` rows; its pieces are numbered from starts[s] / size + s on, so the count of
// numbers is rows / size + sequences, a few of them unused.
struct RowPiece {
  int64_t seq;
  int64_t begin;  // absolute rows; begin >= end: unused number
  int64_t end;
};
static inline RowPiece row_piece(const int32_t* starts, int64_t sequences, int64_t size, int64_t number) {
  int64_t low = 0, high = sequences;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (starts[middle] / size + middle <= number) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t begin = starts[low] + (number - starts[low] / size - low) * size;
  const int64_t last = starts[low + 1];
  return {low, begin, begin + size < last ? begin + size : last};
}

// Rows of a task: with the heads of the group, about kMaxQueries queries.
static inline int64_t attention_block_rows(const AttentionAttrs& a) {
  const int64_t rows = kMaxQueries / (a.heads / a.kv_heads);
  return rows > 0 ? rows : 1;
}

// Phase 0 lays the keys of this step's rows out as kv_write does; phase 1 attends.
static int64_t attention_tasks(const OpCall& call, int32_t phase) {
  const AttentionAttrs& a = *(const AttentionAttrs*)call.attrs;
  const int64_t sequences = attention_sequences(call);
  if (sequences == 0) return 0;
  if (phase == 0) return attention_cached(call) ? 0 : call.in[kAttK].dim[0] / kPage + sequences;
  return (call.in[kAttQ].dim[0] / attention_block_rows(a) + sequences) * a.kv_heads;
}

// (pages, kv_heads, head_dim, page) f32
static int64_t attention_workspace(const OpCall& call) {
  const AttentionAttrs& a = *(const AttentionAttrs*)call.attrs;
  return attention_tasks(call, 0) * a.kv_heads * a.head_dim * kPage * (int64_t)sizeof(float);
}

static int64_t attention_cost(const OpCall& call) {
  const AttentionAttrs& a = *(const AttentionAttrs*)call.attrs;
  const bool cached = attention_cached(call);
  const int64_t rows = call.in[kAttQ].dim[0], sequences = attention_sequences(call);
  const int64_t all = cached ? call.in[kAttTable].dim[1] * kPage : call.in[kAttK].dim[0];
  const int32_t* positions = cached ? (const int32_t*)attention_input(call, kAttPositions) : nullptr;
  int64_t keys = positions || sequences == 0 ? 0 : rows * (all / sequences);
  for (int64_t r = 0; positions && r < rows; r++) {
    const int64_t seen = positions[r] < 0 ? 0 : positions[r] < all ? positions[r] + 1 : all;
    keys += a.window > 0 && a.window < seen ? a.window : seen;
  }
  return keys * a.heads * (4 * a.head_dim + 24);
}

constexpr int64_t kPackedAtOnce = 32;  // columns of a page of keys: few enough to stay in L1 while all keys pass

static void attention_pack_keys(const OpCall& call, const AttentionAttrs& a, int64_t number) {
  const RowPiece piece = row_piece(attention_key_starts(call), attention_sequences(call), kPage, number);
  const int64_t stride = a.kv_heads * a.head_dim;
  float* page = (float*)call.workspace + number * stride * kPage;
  const float* keys = (const float*)call.in[kAttK].data + piece.begin * stride;
  for (int64_t from = 0; from < stride; from += kPackedAtOnce) {
    const int64_t end = from + kPackedAtOnce < stride ? from + kPackedAtOnce : stride;
    for (int64_t key = 0; key < kPage; key++) {
      const bool present = piece.begin + key < piece.end;
      for (int64_t i = from; i < end; i++) page[i * kPage + key] = present ? keys[key * stride + i] : 0.0f;
    }
  }
}

static KeyPages attention_pages(const OpCall& call, const AttentionAttrs& a, int64_t seq, int64_t kv_head) {
  if (attention_cached(call)) {
    const Tensor &keys = call.in[kAttK], &values = call.in[kAttV], &table = call.in[kAttTable];
    const DType type = keys.dtype;
    const int64_t head = a.layer * a.kv_heads + kv_head, element = kv_element_bytes(type);
    return {type,
            (const uint8_t*)keys.data + head * kv_head_bytes(type, a.head_dim, true),
            (const uint8_t*)values.data + head * kv_head_bytes(type, a.head_dim, false),
            element * keys.dim[1],
            element * values.dim[1],
            a.head_dim,
            (const int32_t*)table.data + seq * table.dim[1]};
  }
  const int64_t key_start = attention_key_starts(call)[seq], stride = a.kv_heads * a.head_dim;
  const int64_t number = key_start / kPage + seq;
  return {kF32,
          (const uint8_t*)((const float*)call.workspace + (number * a.kv_heads + kv_head) * a.head_dim * kPage),
          (const uint8_t*)((const float*)call.in[kAttV].data + key_start * stride + kv_head * a.head_dim),
          4 * stride * kPage,
          4 * stride * kPage,
          stride,
          nullptr};
}

// Query `place` of a block: its row is begin + place / group, its head the kv head's place % group.
static void attention_set_query(const OpCall& call, const AttentionAttrs& a, const RowPiece& rows, int64_t kv_head,
                                int64_t place, QueryBatch& b, int64_t i) {
  const int64_t group = a.heads / a.kv_heads, row = rows.begin + place / group, head = kv_head * group + place % group;
  const int64_t at = (row * a.heads + head) * a.head_dim, all_rows = call.in[kAttQ].dim[0];
  b.q[i] = (const float*)call.in[kAttQ].data + at;
  b.y[i] = (float*)call.out[0].data + at;
  if (attention_cached(call)) {
    b.place[i] = ((const int32_t*)call.in[kAttPositions].data)[row];
    b.end[i] = b.place[i] + 1;
  } else {
    const int32_t *starts = (const int32_t*)call.in[kAttStarts].data, *key_starts = attention_key_starts(call);
    const int64_t keys = key_starts[rows.seq + 1] - key_starts[rows.seq];
    b.place[i] = a.causal ? row + keys - starts[rows.seq + 1] : row - starts[rows.seq];
    b.end[i] = a.causal ? b.place[i] + 1 : keys;
  }
  b.first[i] = a.window > 0 && b.place[i] >= a.window ? b.place[i] + 1 - a.window : 0;
  if (a.window > 0 && b.end[i] > b.place[i] + a.window) b.end[i] = b.place[i] + a.window;
  const float* slopes = (const float*)attention_input(call, kAttSlopes);
  const float* relative = (const float*)attention_input(call, kAttRelative);
  const int32_t* places = (const int32_t*)attention_input(call, kAttPlaces);
  b.slope[i] = slopes ? slopes[head] : 0.0f;
  b.relative[i] = relative ? relative + head : nullptr;
  const float* place_bias = (const float*)attention_input(call, kAttPlaceBias);
  b.place_bias[i] = place_bias ? place_bias + head * call.in[kAttPlaceBias].dim[1] : nullptr;
  if (places) b.place[i] = places[row];
  const float* bias = (const float*)attention_input(call, kAttBias);
  const uint8_t* mask = (const uint8_t*)attention_input(call, kAttMask);
  b.bias[i] = bias ? bias + (head * all_rows + row) * call.in[kAttBias].dim[2] : nullptr;
  b.mask[i] = mask ? mask + row * call.in[kAttMask].dim[1] : nullptr;
}

}  // namespace verdant::VERDANT_ISA
