// Attention of a few queries over one kv head, chunk by chunk. The bits of a row depend on its own keys only: keys that
// it does not see add exactly +0, and chunks that it does not see are skipped.
#include "cpu/rows/attention_cache.h"

namespace verdant::VERDANT_ISA {

constexpr int kTileQueries = kTileVecs < 6 ? kTileVecs : 6;  // queries of a register tile
constexpr int kMaxQueries = 48;                              // queries that share a pass over the keys
constexpr int kChunkPages = kKeyChunk / kPage;
constexpr int kGroupKeys = 64;  // keys that tiles of queries go through in turn
constexpr int kGroupPages = kGroupKeys / kPage;
constexpr int kValueCols = 64;     // columns of values that are converted at once
constexpr int kConvertCols = 256;  // head_dim up to which keys are
static_assert(kMaxQueries % 16 == 0 && kKeyChunk % kGroupKeys == 0 && kGroupPages == 2);
static_assert(kConvertCols * kGroupKeys == kValueCols * kKeyChunk);

// Vectors across a tile of m queries.
static constexpr int tile_width(int m) { return 4 * m <= kTileVecs ? 4 : 2 * m <= kTileVecs ? 2 : 1; }

// The keys of one sequence and kv head in pages, as kv_write lays them out; f32 values may be further apart.
struct KeyPages {
  DType type;
  const uint8_t* keys;
  const uint8_t* values;
  int64_t key_page;  // bytes from page to page
  int64_t value_page;
  int64_t value_stride;  // elements from key to key
  const int32_t* table;  // page -> index of its storage; null: the same
};

struct ScoreRule {
  int64_t head_dim;
  float scale;
  float softcap;          // 0: none
  int64_t key_cols;       // columns of bias and mask rows
  bool by_place;          // what follows matters
  const int32_t* places;  // of the sequence's keys; null: 0, 1, ..
  int64_t window;         // where places are given; 0: none
  int64_t farthest;       // places apart that `relative` tells from further ones
  int64_t relative_stride;
  int64_t bias_places;  // columns of place_bias
};

// Queries with their states: m = max of scores, l = sum of exp(s - m), y = sum of exp(s - m) v.
struct QueryBatch {
  int64_t count;
  const float* q[kMaxQueries];
  float* y[kMaxQueries];
  const float* bias[kMaxQueries];        // null: none
  const uint8_t* mask[kMaxQueries];      // null: none
  const float* relative[kMaxQueries];    // of its head; null: none
  const float* place_bias[kMaxQueries];  // of its head; null: none
  float slope[kMaxQueries];
  int64_t place[kMaxQueries];
  int64_t first[kMaxQueries];  // keys first .. end - 1 may be seen
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
  const uint8_t* keys[kChunkPages];
  const uint8_t* values[kChunkPages];
  const uint8_t* next_keys[kGroupPages];  // of the chunk after it
  float* s;                               // (kMaxQueries, kKeyChunk): scores, then exp(s - max)
};

// 64 keys of a chunk, and what q8 multiplies their scores with: (head_dim / 32, page) of each page.
struct KeyGroup {
  const uint8_t* pages[kGroupPages];
  const float* scales[kGroupPages];
  const uint8_t* ahead[kGroupPages];  // read after them: fetched line by line meanwhile; null: not
};

// Values of a chunk from column `origin` on.
struct ValuePages {
  const uint8_t* pages[kChunkPages];
  const uint8_t* ahead[kChunkPages];
  int64_t stride;
  int64_t origin;
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
  static constexpr int value = kI;
  constexpr operator int() const { return kI; }
};
template <int kN, int kI = 0, class F>
[[gnu::always_inline]] static inline void unrolled(const F& f) {
  if constexpr (kI < kN) {
    f(Index<kI>{});
    unrolled<kN, kI + 1>(f);
  }
}

template <int64_t kBytes>
static inline void prefetch_row(const uint8_t* row) {
  for (int64_t i = 0; i < kBytes; i += 64) prefetch(row + i);
}

// s[m][v] = sum_d q_m[d] k[d][v], d ascending in each lane; q8: sums of 32 columns times their scale, added in order.
template <class Keys, bool kScaled, int kM, int kN, int kHalf>
static void score_tile(const float* const* queries, const uint8_t* const* key_vecs, const float* const* scales,
                       const uint8_t* const* ahead, int64_t head_dim, float* s) {
  const float* q[kM];
  const uint8_t* k[kN];
  unrolled<kM>([&](auto m) { q[m] = queries[m]; });
  unrolled<kN>([&](auto n) { k[n] = key_vecs[n]; });
  for (int64_t from = 0, end; from < head_dim; from = end) {
    end = kScaled && from + kKvScaleCols < head_dim ? from + kKvScaleCols : head_dim;
    Vec acc[kM][kN];
    unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { acc[m][n] = zero(); }); });
    for (int64_t d = from; d < end; d++) {
      Vec key[kN];
      unrolled<kN>([&](auto n) {
        constexpr int kPart = (kHalf + decltype(n)::value) % kPageVecs;
        key[n] = Keys::template load<kPart>(k[n] + d * Keys::kRow);
        if (kPart == 0 && ahead[n] != nullptr) prefetch_row<Keys::kRow>(ahead[n] + d * Keys::kRow);
      });
      unrolled<kM>([&](auto m) {
        const Vec x = set1(q[m][d]);
        unrolled<kN>([&](auto n) { acc[m][n] = fma(x, key[n], acc[m][n]); });
      });
    }
    if constexpr (kScaled) {
      unrolled<kN>([&](auto n) {
        const Vec scale = load(scales[n] + from / kKvScaleCols * kPage + 16 * ((kHalf + n) % kPageVecs));
        unrolled<kM>([&](auto m) {
          float* y = s + m * kKeyChunk + 16 * n;
          store(y, from == 0 ? mul(acc[m][n], scale) : fma(acc[m][n], scale, load(y)));
        });
      });
    } else {
      unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { store(s + m * kKeyChunk + 16 * n, acc[m][n]); }); });
    }
  }
}

// Raw scores of queries from .. from + kM - 1 with a group of keys.
template <class Keys, bool kScaled, int kM>
static void score_group(const QueryBatch& b, int64_t from, const KeyGroup& g, int64_t head_dim, float* s) {
  constexpr int kN = tile_width(kM);
  for (int v = 0; v < kGroupKeys / 16; v += kN) {
    const uint8_t* keys[kN];
    const float* scales[kN];
    const uint8_t* ahead[kN];
    for (int n = 0; n < kN; n++) {
      const int page = (v + n) / kPageVecs;
      keys[n] = g.pages[page], scales[n] = g.scales[page], ahead[n] = g.ahead[page];
    }
    float* y = s + from * kKeyChunk + 16 * v;
    if (kN > 1 || v % kPageVecs == 0) {
      score_tile<Keys, kScaled, kM, kN, 0>(b.q + from, keys, scales, ahead, head_dim, y);
    } else {
      score_tile<Keys, kScaled, kM, kN, 1>(b.q + from, keys, scales, ahead, head_dim, y);
    }
  }
}

// y = keep y + take o, o[m][d] = sum_key p[m][key] v[key][d], keys ascending in each lane (lane = d), for kN vectors
// from column d. kTail: kN = 1 and only `lanes` columns exist.
template <class Values, int kM, int kN, bool kTail>
static void value_tile(const QueryBatch& b, int64_t from, const float* s, const ValuePages& values, KeyRange range,
                       int64_t d, int64_t lanes, const Merge& merge) {
  const float* p = s + from * kKeyChunk;
  Vec acc[kM][kN];
  unrolled<kM>([&](auto m) { unrolled<kN>([&](auto n) { acc[m][n] = zero(); }); });
  for (int64_t key = range.begin; key < range.end;) {
    const int64_t page_end = (key / kPage + 1) * kPage, end = page_end < range.end ? page_end : range.end;
    const uint8_t* page = values.pages[key / kPage] + Values::at(0, 0, d - values.origin);
    const uint8_t* ahead = values.ahead[key / kPage];
    if (ahead != nullptr) ahead += Values::at(0, 0, d);
    const auto add_key = [&](auto odd) {
      constexpr int kOdd = decltype(odd)::value;
      const int64_t at = Values::at(key % kPage, values.stride, 0);
      const uint8_t* v = page + at;
      if (ahead != nullptr && kOdd <= Values::kOddLines) prefetch_row<Values::at(0, 0, 16 * kN)>(ahead + at);
      Vec x[kN];
      unrolled<kN>([&](auto n) { x[n] = Values::template load<kOdd, kTail>(v + Values::at(0, 0, 16 * n), lanes); });
      unrolled<kM>([&](auto m) {
        const Vec weight = set1(p[m * kKeyChunk + key]);
        unrolled<kN>([&](auto n) { acc[m][n] = fma(weight, x[n], acc[m][n]); });
      });
      key++;
    };
    if (key % 2 != 0) add_key(Index<1>{});
    while (key + 2 <= end) {
      add_key(Index<0>{});
      add_key(Index<1>{});
    }
    if (key < end) add_key(Index<0>{});
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

// Columns d .. end - 1.
template <class Values, int kM>
static void value_tiles(const QueryBatch& b, int64_t from, const float* s, const ValuePages& values, KeyRange range,
                        int64_t d, int64_t end, const Merge& merge) {
  constexpr int kN = tile_width(kM);
  for (; d + 16 * kN <= end; d += 16 * kN) value_tile<Values, kM, kN, false>(b, from, s, values, range, d, 16, merge);
  for (; d + 16 <= end; d += 16) value_tile<Values, kM, 1, false>(b, from, s, values, range, d, 16, merge);
  if (d < end) value_tile<Values, kM, 1, true>(b, from, s, values, range, d, end - d, merge);
}

// f with the number of queries in a tile as a constant.
template <class F>
static inline void with_tile(int64_t m, F f) {
  if constexpr (kTileQueries >= 6) {
    if (m == 6) return f(Index<6>{});
    if (m == 5) return f(Index<5>{});
  }
  if (m == 4) return f(Index<4>{});
  if (m == 3) return f(Index<3>{});
  if (m == 2) return f(Index<2>{});
  f(Index<1>{});
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

// Scores of query i with 16 keys, with what depends on how far apart their places are.
static Vec score_places(const QueryBatch& b, int64_t i, int64_t key, const ScoreRule& rule, Vec s) {
  float bias[16], seen[16];
  const int64_t far = rule.farthest;
  for (int64_t n = 0; n < 16; n++) {
    const int64_t at = key + n < b.end[i] ? key + n : b.end[i] - 1;
    const int64_t place = rule.places ? rule.places[at] : at, apart = place - b.place[i];
    const int64_t near = apart < -far ? -far : apart > far ? far : apart;
    bias[n] = b.slope[i] * (float)apart;
    if (b.relative[i]) bias[n] += b.relative[i][(near + far) * rule.relative_stride];
    if (b.place_bias[i]) bias[n] += b.place_bias[i][place < rule.bias_places ? place : rule.bias_places - 1];
    seen[n] = rule.window == 0 || (apart < rule.window && -apart < rule.window) ? 1.0f : 0.0f;
  }
  return select(lt(zero(), load(seen)), add(s, load(bias)), set1(-INFINITY));
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
    if (rule.by_place) x = score_places(b, i, key, rule, x);
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
