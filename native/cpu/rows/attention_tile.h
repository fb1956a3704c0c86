// Attention of a few queries over one kv head, chunk by chunk. The bits of a row depend on its own keys only: keys that
// it does not see add exactly +0, and chunks that it does not see are skipped.
#include "ops/attention.h"
#include "ops/kv_write.h"

namespace verdant::VERDANT_ISA {

constexpr int kTileQueries = kTileVecs < 6 ? kTileVecs : 6;  // queries of a register tile
constexpr int kMaxQueries = 48;                              // queries that share a pass over the keys
constexpr int kChunkPages = kKeyChunk / kPage;
constexpr int kPageVecs = kPage / 16;
static_assert(kMaxQueries % 16 == 0 && kKeyChunk % (4 * 16) == 0 && kPageVecs == 2);

// Vectors across a tile of m queries.
static constexpr int tile_width(int m) { return 4 * m <= kTileVecs ? 4 : 2 * m <= kTileVecs ? 2 : 1; }

// The keys of one sequence and kv head in pages: K (head_dim, page), V (page, value_stride).
struct KeyPages {
  const float* keys;
  const float* values;
  int64_t key_page;  // floats from page to page
  int64_t value_page;
  int64_t value_stride;  // floats from key to key
  const int32_t* table;  // page -> index of its storage; null: the same
};

struct ScoreRule {
  int64_t head_dim;
  float scale;
  float softcap;     // 0: none
  int64_t key_cols;  // columns of bias and mask rows
};

// Queries with their states: m = max of scores, l = sum of exp(s - m), y = sum of exp(s - m) v.
struct QueryBatch {
  int64_t count;
  const float* q[kMaxQueries];
  float* y[kMaxQueries];
  const float* bias[kMaxQueries];    // null: none
  const uint8_t* mask[kMaxQueries];  // null: none
  int64_t first[kMaxQueries];        // keys first .. end - 1 may be seen
  int64_t end[kMaxQueries];
  float m[kMaxQueries];
  float l[kMaxQueries];  // 0: no key seen yet
};

// Keys begin .. end - 1 of a chunk, relative to it.
struct KeyRange {
  int64_t begin;
  int64_t end;
};

struct Chunk {
  int64_t key;  // absolute index of its first key
  const float* keys[kChunkPages];
  const float* values[kChunkPages];
  float* s;  // (kMaxQueries, kKeyChunk): scores, then exp(s - max)
};

// How a chunk enters the state of a query: y = keep y + take o.
enum MergeKind : uint8_t { kMergeNone, kMergeFirst, kMergeNext };
struct Merge {
  MergeKind kind[kMaxQueries];
  float keep[kMaxQueries];
  float take[kMaxQueries];
};

static inline KeyRange range_in_chunk(const QueryBatch& b, int64_t from, int64_t count, int64_t key) {
  KeyRange r = {kKeyChunk, 0};
  for (int64_t i = from; i < from + count; i++) {
    const int64_t begin = b.first[i] > key ? b.first[i] - key : 0;
    const int64_t end = b.end[i] - key < kKeyChunk ? b.end[i] - key : kKeyChunk;
    if (begin >= end) continue;
    if (begin < r.begin) r.begin = begin;
    if (end > r.end) r.end = end;
  }
  return r;
}

// f(0), .. f(kN - 1) with constants: in plain loops, compilers may keep an array of accumulators in memory.
template <int kI>
struct Index {
  constexpr operator int() const { return kI; }
};
template <int kN, int kI = 0, class F>
[[gnu::always_inline]] static inline void unrolled(const F& f) {
  if constexpr (kI < kN) {
    f(Index<kI>{});
    unrolled<kN, kI + 1>(f);
  }
}

// s[m][v] = sum_d q_m[d] k[d][v], d ascending in each lane.
template <int kM>
static void score_tile(const float* const* queries, const float* const* key_vecs, int64_t head_dim, float* s) {
  constexpr int kN = tile_width(kM);
  const float* q[kM];
  const float* k[kN];
  Vec acc[kM][kN];
  unrolled<kM>([&](auto m) { q[m] = queries[m]; });
  unrolled<kN>([&](auto n) { k[n] = key_vecs[n]; });
  unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { acc[m][n] = zero(); }); });
  for (int64_t d = 0; d < head_dim; d++) {
    Vec key[kN];
    unrolled<kN>([&](auto n) { key[n] = load(k[n] + d * kPage); });
    unrolled<kM>([&](auto m) {
      const Vec x = set1(q[m][d]);
      unrolled<kN>([&](auto n) { acc[m][n] = fma(x, key[n], acc[m][n]); });
    });
  }
  unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { store(s + m * kKeyChunk + 16 * n, acc[m][n]); }); });
}

// Raw scores of queries from .. from + kM - 1 for the vectors vec .. vec + width - 1 of a chunk.
template <int kM>
static void score_vecs(const QueryBatch& b, int64_t from, const Chunk& c, int64_t vec, int64_t width,
                       int64_t head_dim) {
  constexpr int kN = tile_width(kM);
  for (int64_t v = vec; v < vec + width; v += kN) {
    const float* keys[kN];
    for (int n = 0; n < kN; n++) keys[n] = c.keys[(v + n) / kPageVecs] + 16 * ((v + n) % kPageVecs);
    score_tile<kM>(b.q + from, keys, head_dim, c.s + from * kKeyChunk + 16 * v);
  }
}

// y = keep y + take o, o[m][d] = sum_key p[m][key] v[key][d], keys ascending in each lane (lane = d), for kN vectors
// from column d. kTail: kN = 1 and only `lanes` columns exist.
template <int kM, int kN, bool kTail>
static void value_tile(const QueryBatch& b, int64_t from, const Chunk& c, KeyRange range, int64_t stride, int64_t d,
                       int64_t lanes, const Merge& merge) {
  const float* p = c.s + from * kKeyChunk;
  Vec acc[kM][kN];
  unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { acc[m][n] = zero(); }); });
  for (int64_t key = range.begin; key < range.end;) {
    const float* v = c.values[key / kPage] + (key % kPage) * stride + d;
    const int64_t page_end = (key / kPage + 1) * kPage, end = page_end < range.end ? page_end : range.end;
    for (; key < end; key++, v += stride) {
      Vec x[kN];
      unrolled<kN>([&](auto n) { x[n] = kTail ? load_n(v, lanes) : load(v + 16 * n); });
      unrolled<kM>([&](auto m) {
        const Vec weight = set1(p[m * kKeyChunk + key]);
        unrolled<kN>([&](auto n) { acc[m][n] = fma(weight, x[n], acc[m][n]); });
      });
    }
  }
  const int64_t count = kTail ? lanes : 16;
  unrolled<kM>([&](auto m) {
    if (merge.kind[from + m] == kMergeNone) return;
    const Vec keep = set1(merge.keep[from + m]), take = set1(merge.take[from + m]);
    unrolled<kN>([&](auto n) {
      float* y = b.y[from + m] + d + 16 * n;
      // -0, from an underflow, becomes +0: else later keys that this query does not see could change the sign.
      Vec o = add(acc[m][n], zero());
      if (merge.kind[from + m] == kMergeNext) o = fma(o, take, mul(load_n(y, count), keep));
      store_n(y, o, count);
    });
  });
}

template <int kM>
static void value_tiles(const QueryBatch& b, int64_t from, const Chunk& c, KeyRange range, int64_t stride,
                        int64_t head_dim, const Merge& merge) {
  constexpr int kN = tile_width(kM);
  int64_t d = 0;
  for (; d + 16 * kN <= head_dim; d += 16 * kN) value_tile<kM, kN, false>(b, from, c, range, stride, d, 16, merge);
  for (; d < head_dim; d += 16) {
    const int64_t lanes = head_dim - d < 16 ? head_dim - d : 16;
    value_tile<kM, 1, true>(b, from, c, range, stride, d, lanes, merge);
  }
}

static void score_vecs_of(int64_t m, const QueryBatch& b, int64_t from, const Chunk& c, int64_t vec, int64_t width,
                          int64_t head_dim) {
  if constexpr (kTileQueries >= 6) {
    if (m == 6) return score_vecs<6>(b, from, c, vec, width, head_dim);
    if (m == 5) return score_vecs<5>(b, from, c, vec, width, head_dim);
  }
  if (m == 4) return score_vecs<4>(b, from, c, vec, width, head_dim);
  if (m == 3) return score_vecs<3>(b, from, c, vec, width, head_dim);
  if (m == 2) return score_vecs<2>(b, from, c, vec, width, head_dim);
  score_vecs<1>(b, from, c, vec, width, head_dim);
}

static void value_tiles_of(int64_t m, const QueryBatch& b, int64_t from, const Chunk& c, KeyRange range, int64_t stride,
                           int64_t head_dim, const Merge& merge) {
  if constexpr (kTileQueries >= 6) {
    if (m == 6) return value_tiles<6>(b, from, c, range, stride, head_dim, merge);
    if (m == 5) return value_tiles<5>(b, from, c, range, stride, head_dim, merge);
  }
  if (m == 4) return value_tiles<4>(b, from, c, range, stride, head_dim, merge);
  if (m == 3) return value_tiles<3>(b, from, c, range, stride, head_dim, merge);
  if (m == 2) return value_tiles<2>(b, from, c, range, stride, head_dim, merge);
  value_tiles<1>(b, from, c, range, stride, head_dim, merge);
}

// Lanes of s that query i must not see become -inf; `key` is the absolute key of lane 0.
static inline Vec hide(const QueryBatch& b, int64_t i, int64_t key, int64_t key_cols, Vec s) {
  const Vec unseen = set1(-INFINITY);
  if (b.mask[i]) {
    float seen[16];
    for (int64_t n = 0; n < 16; n++) seen[n] = key + n < key_cols && b.mask[i][key + n] ? 1.0f : 0.0f;
    s = select(lt(zero(), load(seen)), s, unseen);
  }
  if (key + 16 > b.end[i]) s = select(first(b.end[i] - key), s, unseen);
  if (key < b.first[i]) s = select(first(b.first[i] - key), unseen, s);
  return s;
}

// Raw scores of query i in `range`, scaled, capped, biased and hidden, in place. Returns their max.
static float finish_scores(const QueryBatch& b, int64_t i, const Chunk& c, KeyRange range, const ScoreRule& rule) {
  float* s = c.s + i * kKeyChunk;
  const Vec scale = set1(rule.scale), cap = set1(rule.softcap);
  Vec top = set1(-INFINITY);
  for (int64_t n = range.begin / 16 * 16; n < range.end; n += 16) {
    const int64_t key = c.key + n;
    Vec x = mul(load(s + n), scale);
    if (rule.softcap > 0) x = mul(cap, tanh(div(x, cap)));
    if (b.bias[i]) x = add(x, load_n(b.bias[i] + key, rule.key_cols - key));
    if (b.mask[i] || key < b.first[i] || key + 16 > b.end[i]) x = hide(b, i, key, rule.key_cols, x);
    top = max(x, top);  // passes over NaN, which reaches l and y through exp
    store(s + n, x);
  }
  return reduce_max(top);
}

// s becomes exp(s - max) in `range`, its own part of `tile`, and 0 in the rest of `tile`. Returns the sum in 4 x 16
// lanes, vector n of the chunk in accumulator n mod 4.
static float exponentials(float* s, KeyRange range, KeyRange tile, float max_score) {
  const int64_t begin = range.begin / 16 * 16;
  const Vec top = set1(max_score);
  Vec sum[4] = {zero(), zero(), zero(), zero()};
  for (int64_t n = tile.begin / 16 * 16; n < tile.end; n += 16) {
    if (n < begin || n >= range.end) {
      store(s + n, zero());
      continue;
    }
    const Vec p = exp(sub(load(s + n), top));
    store(s + n, p);
    sum[n / 16 % 4] = add(sum[n / 16 % 4], p);
  }
  return reduce_add(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
}

// (m, l) of each query takes in the chunk's (m, l); gives the factors for y.
static void merge_states(QueryBatch& b, const float* m, const float* l, Merge& merge) {
  float top[kMaxQueries];
  for (int64_t i = 0; i < b.count; i += 16) {
    const Vec x = load(b.m + i), c = load(m + i), t = max(x, c);
    store(top + i, t);
    store(merge.keep + i, exp(sub(x, t)));
    store(merge.take + i, exp(sub(c, t)));
  }
  for (int64_t i = 0; i < b.count; i++) {
    merge.kind[i] = l[i] == 0.0f ? kMergeNone : b.l[i] == 0.0f ? kMergeFirst : kMergeNext;
    if (merge.kind[i] == kMergeNone) continue;
    b.l[i] = merge.kind[i] == kMergeFirst ? l[i] : merge.keep[i] * b.l[i] + merge.take[i] * l[i];
    b.m[i] = merge.kind[i] == kMergeFirst ? m[i] : top[i];
  }
}

}  // namespace verdant::VERDANT_ISA
