#include "cpu/rows/attention_inputs.h"

namespace verdant::VERDANT_ISA {

// Pages of chunk `index`. Pages that no query sees, whose table entries may be unset, repeat one that is seen.
static void attention_set_chunk(const KeyPages& pages, KeyRange seen, int64_t index, Chunk& c) {
  c.key = index * kKeyChunk;
  const int64_t low = seen.begin / kPage, high = (seen.end - 1) / kPage;
  for (int64_t p = 0; p < kChunkPages; p++) {
    int64_t page = index * kChunkPages + p;
    page = page < low ? low : page > high ? high : page;
    const int64_t at = pages.table ? pages.table[page] : page;
    c.keys[p] = pages.keys + at * pages.key_page;
    c.values[p] = pages.values + at * pages.value_page;
  }
  for (int64_t p = 0; p < kGroupPages; p++) {
    int64_t page = (index + 1) * kChunkPages + p;
    page = page > high ? high : page;
    c.next_keys[p] = pages.keys + (pages.table ? pages.table[page] : page) * pages.key_page;
  }
}

// A pass of queries over the keys, in tiles of `step`. Where there are several tiles, keys and values that are not f32
// are converted once for all of them.
struct Pass {
  QueryBatch* batch;
  int64_t step;
  const KeyPages* pages;
  const ScoreRule* rule;
  float* converted;  // (64 keys, head_dim up to 256) or (256 keys, 64 columns)
};

static inline bool converts(const Pass& pass) { return pass.batch->count > pass.step && pass.pages->type != kF32; }

// One tile goes through the keys at the speed of memory, in pages too short for the machine's own prefetching.
static inline bool fetches(const Pass& pass) { return pass.batch->count <= pass.step; }

template <class Keys, bool kScaled>
static void score_tiles(const Pass& pass, const KeyGroup& group, int64_t n, const KeyRange* ranges, float* s) {
  const QueryBatch& b = *pass.batch;
  for (int64_t i = 0, t = 0; i < b.count; i += pass.step, t++) {
    if (ranges[t].begin >= n + kGroupKeys || ranges[t].end <= n) continue;
    with_tile(b.count - i < pass.step ? b.count - i : pass.step,
              [&](auto m) { score_group<Keys, kScaled, decltype(m)::value>(b, i, group, pass.rule->head_dim, s + n); });
  }
}

template <class Keys, bool kScaled>
static void score_keys(const Pass& pass, const Chunk& c, const KeyRange* ranges) {
  const int64_t head_dim = pass.rule->head_dim;
  const bool convert = converts(pass) && head_dim <= kConvertCols;
  for (int64_t n = 0; n < kKeyChunk; n += kGroupKeys) {
    bool seen = false;
    for (int64_t i = 0, t = 0; i < pass.batch->count; i += pass.step, t++)
      seen = seen || (ranges[t].begin < n + kGroupKeys && ranges[t].end > n);
    if (!seen) continue;
    KeyGroup group;
    const int64_t from = n / kPage;
    for (int p = 0; p < kGroupPages; p++) {
      group.pages[p] = c.keys[from + p];
      const int64_t next = from + p + kGroupPages;
      group.ahead[p] = !fetches(pass) ? nullptr : next < kChunkPages ? c.keys[next] : c.values[next - kChunkPages];
      group.scales[p] = (const float*)(group.pages[p] + head_dim * Keys::kRow);
      if (!convert) continue;
      float* page = pass.converted + p * head_dim * kPage;
      convert_keys<Keys>(group.pages[p], head_dim, page);
      group.pages[p] = (const uint8_t*)page;
    }
    if (convert) {
      score_tiles<F32Keys, kScaled>(pass, group, n, ranges, c.s);
    } else {
      score_tiles<Keys, kScaled>(pass, group, n, ranges, c.s);
    }
  }
}

// Raw scores of all queries with the chunk, for whole groups of keys; `ranges` per tile.
static void attention_score(const Pass& pass, const Chunk& c, const KeyRange* ranges) {
  if (pass.pages->type == kF32) score_keys<F32Keys, false>(pass, c, ranges);
  if (pass.pages->type == kBF16) score_keys<Bf16Keys, false>(pass, c, ranges);
  if (pass.pages->type == kU8) score_keys<Int8Keys, true>(pass, c, ranges);
}

template <class Values>
static void value_columns(const Pass& pass, const Chunk& c, const KeyRange* ranges, const ValuePages& values, int64_t d,
                          int64_t end, const Merge& merge) {
  const QueryBatch& b = *pass.batch;
  for (int64_t i = 0, t = 0; i < b.count; i += pass.step, t++) {
    if (ranges[t].begin >= ranges[t].end) continue;
    with_tile(b.count - i < pass.step ? b.count - i : pass.step,
              [&](auto m) { value_tiles<Values, decltype(m)::value>(b, i, c.s, values, ranges[t], d, end, merge); });
  }
}

template <class Values>
static void merge_values(const Pass& pass, const Chunk& c, const KeyRange* ranges, const Merge& merge) {
  const int64_t head_dim = pass.rule->head_dim;
  ValuePages values;
  for (int p = 0; p < kChunkPages; p++) {
    const int next = p + kGroupPages;
    values.pages[p] = c.values[p];
    values.ahead[p] = !fetches(pass) ? nullptr : next < kChunkPages ? c.values[next] : c.next_keys[next - kChunkPages];
  }
  values.stride = pass.pages->value_stride;
  values.origin = 0;
  if (!converts(pass)) return value_columns<Values>(pass, c, ranges, values, 0, head_dim, merge);
  const KeyRange all = range_in_chunk(*pass.batch, 0, pass.batch->count, c.key);
  values.stride = kValueCols;
  for (int64_t d = 0; d < head_dim; d += kValueCols) {
    const int64_t count = head_dim - d < kValueCols ? head_dim - d : kValueCols;
    values.origin = d;
    for (int64_t p = all.begin / kPage; p * kPage < all.end; p++) {
      float* page = pass.converted + p * kPage * kValueCols;
      convert_values<Values>(c.values[p], head_dim, d, count, page, kValueCols);
      values.pages[p] = (const uint8_t*)page;
    }
    value_columns<F32Values>(pass, c, ranges, values, d, d + count, merge);
  }
}

// q8: sum p (scale v) = sum (p scale) v.
static void scale_weights(const Chunk& c, int64_t i, KeyRange range, int64_t head_dim) {
  for (int64_t n = range.begin / 16 * 16; n < range.end; n += 16) {
    const float* scales = (const float*)(c.values[n / kPage] + Int8Values::at(kPage, head_dim, 0)) + n % kPage;
    float* p = c.s + i * kKeyChunk + n;
    store(p, mul(load(p), load(scales)));
  }
}

static void attention_chunk(const Pass& pass, const Chunk& c) {
  QueryBatch& b = *pass.batch;
  KeyRange ranges[kMaxQueries];
  for (int64_t i = 0, t = 0; i < b.count; i += pass.step, t++)
    ranges[t] = range_in_chunk(b, i, b.count - i < pass.step ? b.count - i : pass.step, c.key);
  attention_score(pass, c, ranges);
  const DType type = pass.pages->type;
  float m[kMaxQueries] = {}, l[kMaxQueries] = {};
  for (int64_t i = 0; i < b.count; i++) {
    const KeyRange range = range_in_chunk(b, i, 1, c.key);
    const float top = finish_scores(b, i, c, range, *pass.rule);
    m[i] = top == -INFINITY ? 0.0f : top;
    l[i] = exponentials(c.s + i * kKeyChunk, range, ranges[i / pass.step], m[i]);
    if (type == kU8) scale_weights(c, i, ranges[i / pass.step], pass.rule->head_dim);
  }
  Merge merge;
  merge_states(b, m, l, merge);
  if (type == kF32) merge_values<F32Values>(pass, c, ranges, merge);
  if (type == kBF16) merge_values<Bf16Values>(pass, c, ranges, merge);
  if (type == kU8) merge_values<Int8Values>(pass, c, ranges, merge);
}

// probs[i] = exp(s - m) / l with the final (m, l) of query i, for the keys it may see; the row is zero before.
static void attention_probs_chunk(const Pass& pass, const Chunk& c, float* const* probs, int64_t columns) {
  const QueryBatch& b = *pass.batch;
  KeyRange ranges[kMaxQueries];
  for (int64_t i = 0, t = 0; i < b.count; i += pass.step, t++)
    ranges[t] = range_in_chunk(b, i, b.count - i < pass.step ? b.count - i : pass.step, c.key);
  attention_score(pass, c, ranges);
  for (int64_t i = 0; i < b.count; i++) {
    if (b.l[i] == 0.0f) continue;
    const KeyRange range = range_in_chunk(b, i, 1, c.key);
    finish_scores(b, i, c, range, *pass.rule);
    const Vec m = set1(b.m[i]), l = set1(b.l[i]);
    for (int64_t n = range.begin / 16 * 16; n < range.end && c.key + n < columns; n += 16) {
      const Vec p = div(exp(sub(load(c.s + i * kKeyChunk + n), m)), l);
      const int64_t end = range.end < columns - c.key ? range.end : columns - c.key;
      store_n(probs[i] + c.key + n, p, end - n < 16 ? end - n : 16);
    }
  }
}

static void attention_finish(const QueryBatch& b, int64_t head_dim) {
  for (int64_t i = 0; i < b.count; i++) {
    const Vec l = set1(b.l[i]);
    for (int64_t d = 0; d < head_dim; d += 16) {
      const int64_t lanes = head_dim - d < 16 ? head_dim - d : 16;
      store_n(b.y[i] + d, b.l[i] == 0.0f ? zero() : div(load_n(b.y[i] + d, lanes), l), lanes);
    }
  }
}

static void attention_batch(const OpCall& call, const AttentionAttrs& a, const RowPiece& rows, int64_t kv_head,
                            int64_t place, QueryBatch& b) {
  alignas(64) float s[kMaxQueries * kKeyChunk], converted[kValueCols * kKeyChunk];
  for (int64_t i = 0; i < kMaxQueries; i++) b.m[i] = -INFINITY, b.l[i] = 0.0f;
  KeyRange seen = {INT64_MAX, 0};
  for (int64_t i = 0; i < b.count; i++) {
    attention_set_query(call, a, rows, kv_head, place + i, b, i);
    if (b.first[i] >= b.end[i]) continue;
    if (b.first[i] < seen.begin) seen.begin = b.first[i];
    if (b.end[i] > seen.end) seen.end = b.end[i];
  }
  const bool with_probs = call.out_count > 1 && call.out[1].data != nullptr;
  const int64_t columns = with_probs ? call.out[1].dim[2] : 0, all_rows = call.in[kAttQ].dim[0];
  float* probs[kMaxQueries];
  for (int64_t i = 0; with_probs && i < b.count; i++) {
    const int64_t query = (b.q[i] - (const float*)call.in[kAttQ].data) / a.head_dim;
    probs[i] = (float*)call.out[1].data + (query % a.heads * all_rows + query / a.heads) * columns;
    memset(probs[i], 0, (size_t)columns * sizeof(float));
  }
  const bool bias = attention_input(call, kAttBias), mask = attention_input(call, kAttMask);
  const int64_t key_cols = bias ? call.in[kAttBias].dim[2] : mask ? call.in[kAttMask].dim[1] : 0;
  const int32_t* places = (const int32_t*)attention_input(call, kAttPlaces);
  const bool relative = attention_input(call, kAttRelative) != nullptr;
  const bool place_bias = attention_input(call, kAttPlaceBias) != nullptr;
  const ScoreRule rule = {a.head_dim,
                          (float)a.scale,
                          (float)a.softcap,
                          key_cols,
                          relative || place_bias || attention_input(call, kAttSlopes) || (places && a.window > 0),
                          places ? places + ((const int32_t*)call.in[kAttStarts].data)[rows.seq] : nullptr,
                          places ? a.window : 0,
                          relative ? call.in[kAttRelative].dim[0] / 2 : 0,
                          a.heads,
                          place_bias ? call.in[kAttPlaceBias].dim[1] : 0};
  const int64_t tiles = (b.count + kTileQueries - 1) / kTileQueries, step = (b.count + tiles - 1) / tiles;
  const KeyPages pages = attention_pages(call, a, rows.seq, kv_head);
  const Pass pass = {&b, step, &pages, &rule, converted};
  Chunk c;
  c.s = s;
  for (int64_t n = seen.begin / kKeyChunk; seen.end > 0 && n * kKeyChunk < seen.end; n++) {
    attention_set_chunk(pages, seen, n, c);
    attention_chunk(pass, c);
  }
  attention_finish(b, a.head_dim);
  for (int64_t n = seen.begin / kKeyChunk; with_probs && seen.end > 0 && n * kKeyChunk < seen.end; n++) {
    attention_set_chunk(pages, seen, n, c);
    attention_probs_chunk(pass, c, probs, columns);
  }
}

static void attention_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const AttentionAttrs& a = *(const AttentionAttrs*)call.attrs;
  if (phase == 0) {
    for (int64_t number = begin; number < end; number++) attention_pack_keys(call, a, number);
    return;
  }
  const int64_t size = attention_block_rows(a), sequences = attention_sequences(call), group = a.heads / a.kv_heads;
  const int64_t blocks = call.in[kAttQ].dim[0] / size + sequences;
  QueryBatch b;
  for (int64_t task = begin; task < end; task++) {
    const RowPiece rows = row_piece((const int32_t*)call.in[kAttStarts].data, sequences, size, task % blocks);
    const int64_t queries = rows.begin < rows.end ? (rows.end - rows.begin) * group : 0;
    for (int64_t place = 0; place < queries; place += kMaxQueries) {
      b.count = queries - place < kMaxQueries ? queries - place : kMaxQueries;
      attention_batch(call, a, rows, task / blocks, place, b);
    }
  }
}

static const Kernel attention_kernel = {2, attention_tasks, attention_run, attention_workspace, attention_cost};

}  // namespace verdant::VERDANT_ISA
