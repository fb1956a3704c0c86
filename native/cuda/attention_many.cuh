// Attention of many queries: a block takes a tile of them through the chunks of keys in order. Warps are queries, eight
// each, whose scores with a chunk lie in shared memory; keys and values pass through it in slices, the next one on its
// way while one is multiplied.
#pragma once
#include "cuda/attention.cuh"

namespace verdant::cuda {

constexpr int kManyWarps = 4, kManyThreads = kManyWarps * kWarp;
constexpr int kWarpQueries = 8, kManyQueries = kManyWarps * kWarpQueries;
constexpr int kKeySlice = 8;  // columns of keys
constexpr int kQueryStride = kManyQueries + 4;
constexpr int kPagesPerWarp = kChunkPages / kManyWarps;

struct ManyShared {
  Query queries[kManyQueries];
  alignas(16) float kv[2][kKeySlice * kKeyChunk];    // (column, key), or values (key, column)
  alignas(16) float q[2][kKeySlice * kQueryStride];  // (column, query)
  alignas(16) float s[kManyQueries * kKeyChunk];     // (query, key): scores, then weights
  float scales[2][kKeyChunk];                        // q8: of 32 columns of keys
};

// A slice of keys and queries on its way to shared memory. Warp w carries pages w and w + 4, lanes are keys.
template <KvForm kForm>
struct KeySlice {
  typename KvPage<kForm>::Raw raw[kPagesPerWarp][kKeySlice];
  float scale[kPagesPerWarp];
  float q[kKeySlice * kManyQueries / kManyThreads];

  __device__ __forceinline__ void load(const AttentionArgs& a, const KvPage<kForm>* pages, const bool* any,
                                       const Query* queries, int count, int from) {
#pragma unroll
    for (int i = 0; i < kPagesPerWarp; i++) {
#pragma unroll
      for (int d = 0; d < kKeySlice; d++)
        raw[i][d] = any[i] && from + d < a.head_dim ? pages[i].raw_key(warp_lane(), from + d) : 0;
      if (kForm == KvForm::kQ8 && from % kKvScaleCols == 0)
        scale[i] = any[i] ? pages[i].key_scale(warp_lane(), from / kKvScaleCols) : 0.0f;
    }
    for (int i = 0; i < kKeySlice * kManyQueries / kManyThreads; i++) {
      const int at = threadIdx.x + kManyThreads * i, n = at / kKeySlice;
      const int d = from + at % kKeySlice;
      q[i] = n < count && d < a.head_dim ? a.q[(queries[n].row * a.heads + queries[n].head) * a.head_dim + d] : 0.0f;
    }
  }
  __device__ __forceinline__ void store(ManyShared& m, int from) const {
    const int buffer = from / kKeySlice % 2, key = warp_index() * kPage + warp_lane();
#pragma unroll
    for (int i = 0; i < kPagesPerWarp; i++) {
#pragma unroll
      for (int d = 0; d < kKeySlice; d++)
        m.kv[buffer][d * kKeyChunk + i * kManyWarps * kPage + key] = KvPage<kForm>::decode(raw[i][d]);
      if (kForm == KvForm::kQ8 && from % kKvScaleCols == 0)
        m.scales[from / kKvScaleCols % 2][i * kManyWarps * kPage + key] = scale[i];
    }
    for (int i = 0; i < kKeySlice * kManyQueries / kManyThreads; i++) {
      const int at = threadIdx.x + kManyThreads * i;
      m.q[buffer][at % kKeySlice * kQueryStride + at / kKeySlice] = q[i];
    }
  }
};

// s[n][i] of the warp's query n with key `lane` of page i, for one slice of columns.
template <int kPages>
static __device__ __forceinline__ void multiply_keys(const ManyShared& m, int buffer,
                                                     float s[kWarpQueries][kChunkPages]) {
  const float* q = m.q[buffer] + warp_index() * kWarpQueries;
  const float* k = m.kv[buffer] + warp_lane();
#pragma unroll
  for (int d = 0; d < kKeySlice; d++) {
    const float4 low = *reinterpret_cast<const float4*>(q + d * kQueryStride);
    const float4 high = *reinterpret_cast<const float4*>(q + d * kQueryStride + 4);
    const float x[kWarpQueries] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < kPages; i++) {
      const float key = k[d * kKeyChunk + i * kPage];
#pragma unroll
      for (int n = 0; n < kWarpQueries; n++) s[n][i] = fmaf(x[n], key, s[n][i]);
    }
  }
}

// Into m.s; q8: sums of a group of columns times their scale are added to what lies there, and begin anew.
template <KvForm kForm>
static __device__ __forceinline__ void store_scores(ManyShared& m, int group, float s[kWarpQueries][kChunkPages]) {
  float* out = m.s + warp_index() * kWarpQueries * kKeyChunk + warp_lane();
#pragma unroll
  for (int i = 0; i < kChunkPages; i++) {
    const float scale = kForm == KvForm::kQ8 ? m.scales[group % 2][i * kPage + warp_lane()] : 1.0f;
#pragma unroll
    for (int n = 0; n < kWarpQueries; n++) {
      float* at = out + n * kKeyChunk + i * kPage;
      *at = kForm != KvForm::kQ8 ? s[n][i] : group == 0 ? s[n][i] * scale : fmaf(s[n][i], scale, *at);
      if (kForm == KvForm::kQ8) s[n][i] = 0.0f;
    }
  }
}

// What a block works on.
template <KvForm kForm>
struct ManyTile {
  int64_t seq;
  int64_t kv_head;
  int count;      // queries
  KeyRange seen;  // by any of them
  KeyRange own;   // by those of this warp

  __device__ __forceinline__ bool any_page(int64_t page) const {
    return page * kPage < seen.end && page * kPage + kPage > seen.begin;
  }
  // A page that any query sees; else another one that exists, not to be read from.
  __device__ __forceinline__ KvPage<kForm> page(const AttentionArgs& a, int64_t page) const {
    return KvPage<kForm>(a, seq, kv_head, any_page(page) ? page : seen.begin / kPage, seen.end);
  }
};

// Scores of all queries with a chunk, as q k, into m.s.
template <KvForm kForm>
static __device__ __forceinline__ void many_scores(const AttentionArgs& a, const ManyTile<kForm>& t, int64_t chunk,
                                                   ManyShared& m) {
  const int64_t first = chunk * kChunkPages + warp_index(), key = chunk * kKeyChunk;
  static_assert(kPagesPerWarp == 2);
  const KvPage<kForm> pages[] = {t.page(a, first), t.page(a, first + kManyWarps)};
  const bool any[] = {t.any_page(first), t.any_page(first + kManyWarps)};
  const bool works = t.own.begin < key + kKeyChunk && t.own.end > key, half = t.own.end <= key + kKeyChunk / 2;
  float s[kWarpQueries][kChunkPages] = {};
  KeySlice<kForm> slice;
  slice.load(a, pages, any, m.queries, t.count, 0);
  slice.store(m, 0);
  __syncthreads();
  for (int from = 0; from < a.head_dim; from += kKeySlice) {
    const int next = from + kKeySlice;
    if (next < a.head_dim) slice.load(a, pages, any, m.queries, t.count, next);
    if (works && half) multiply_keys<kChunkPages / 2>(m, from / kKeySlice % 2, s);
    if (works && !half) multiply_keys<kChunkPages>(m, from / kKeySlice % 2, s);
    if (kForm == KvForm::kQ8 ? next % kKvScaleCols == 0 || next >= a.head_dim : next >= a.head_dim)
      store_scores<kForm>(m, from / kKvScaleCols, s);
    if (next < a.head_dim) slice.store(m, next);
    __syncthreads();
  }
}

// Pages of a chunk, a bit each: those of which some query of the warp sees a key, and does not see a key.
struct SeenPages {
  unsigned some;
  unsigned not_all;
};

// Scores of the warp's queries become weights; lane n gets (m, l) of query n in the chunk.
template <KvForm kForm>
static __device__ __forceinline__ SeenPages many_weights(const AttentionArgs& a, const ManyTile<kForm>& t,
                                                         int64_t chunk, ManyShared& m, SoftmaxState& state) {
  const int lane = warp_lane(), from = warp_index() * kWarpQueries;
  const int64_t key = chunk * kKeyChunk + lane;
  const bool plain = a.softcap == 0.0f && a.mask == nullptr && a.bias == nullptr && a.slopes == nullptr &&
                     a.relative == nullptr && a.places == nullptr && a.place_bias == nullptr;
  float scale[kChunkPages];
#pragma unroll
  for (int i = 0; i < kChunkPages; i++) {
    const bool any = kForm == KvForm::kQ8 && t.any_page(chunk * kChunkPages + i);
    scale[i] = any ? t.page(a, chunk * kChunkPages + i).value_scale(lane) : 1.0f;
  }
  unsigned some = 0, not_all = 0;
#pragma unroll 1
  for (int n = 0; n < kWarpQueries; n++) {
    float* s = m.s + (from + n) * kKeyChunk + lane;
    const Query q = from + n < t.count ? m.queries[from + n] : Query{};
    float x[kChunkPages], top = -INFINITY, total = 0.0f;
#pragma unroll 1
    for (int i = 0; !plain && i < kChunkPages; i++)
      s[i * kPage] = finish_score(a, q, t.seq, key + i * kPage, s[i * kPage]);
#pragma unroll
    for (int i = 0; i < kChunkPages; i++) {
      const int64_t at = key + i * kPage;
      const float score = s[i * kPage];
      x[i] = !plain ? score : at >= q.first && at < q.end ? score * a.scale : -INFINITY;
      top = fmaxf(top, x[i]);
    }
    top = warp_max(top);
#pragma unroll
    for (int i = 0; i < kChunkPages; i++) {
      const float p = weight_of(x[i], top);
      (p < 0.0f ? not_all : some) |= 1u << i;
      total += warp_sum(p < 0.0f ? 0.0f : p);
      s[i * kPage] = kForm == KvForm::kQ8 && !(p < 0.0f) ? p * scale[i] : p;
    }
    if (lane == n) state = {top, total};
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    some |= __shfl_xor_sync(kAllLanes, some, lanes);
    not_all |= __shfl_xor_sync(kAllLanes, not_all, lanes);
  }
  return {some, not_all};
}

// Values pass in tiles of 32 kCols columns, kCols of a lane, and slices of kKeys keys.
template <int kCols>
struct ValueTile {
  static constexpr int kWidth = kCols * kWarp;
  static constexpr int kKeys = kKeySlice * kKeyChunk / kWidth;
  static constexpr int kSlices = kPage / kKeys;  // of a page
};

// sum[n][j] += p v over a slice of keys, ascending, for columns kCols lane + j. kGuarded: some keys are not seen.
template <int kCols, bool kGuarded>
static __device__ __forceinline__ void multiply_values(const float* v, const float* p, float sum[kWarpQueries][kCols]) {
  using Lane = std::conditional_t<kCols == 4, float4, float2>;
#pragma unroll 1
  for (int key = 0; key < ValueTile<kCols>::kKeys; key += 4) {
    float x[4][kCols];
#pragma unroll
    for (int t = 0; t < 4; t++) {
      const Lane l = *reinterpret_cast<const Lane*>(v + (key + t) * ValueTile<kCols>::kWidth + kCols * warp_lane());
      x[t][0] = l.x, x[t][1] = l.y;
      if constexpr (kCols == 4) x[t][2] = l.z, x[t][3] = l.w;
    }
#pragma unroll
    for (int n = 0; n < kWarpQueries; n++) {
      const float4 w = *reinterpret_cast<const float4*>(p + n * kKeyChunk + key);
      const float y[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int t = 0; t < 4; t++) {
        if (kGuarded && y[t] < 0.0f) continue;
#pragma unroll
        for (int j = 0; j < kCols; j++) sum[n][j] = fmaf(y[t], x[t][j], sum[n][j]);
      }
    }
  }
}

// A slice of values on its way: warp w carries pairs of keys w, w + 4, .., lanes are columns lane + 32 j.
template <KvForm kForm, int kCols>
struct ValueSlice {
  using Tile = ValueTile<kCols>;
  static constexpr int kPairs = Tile::kKeys / 2 / kManyWarps;
  float2 v[kPairs][kCols];

  // Slice `index` of the chunk, columns from `from` on.
  __device__ __forceinline__ void load(const AttentionArgs& a, const ManyTile<kForm>& t, int64_t chunk, int index,
                                       int from) {
    const KvPage<kForm> page = t.page(a, chunk * kChunkPages + index / Tile::kSlices);
    const int first = index % Tile::kSlices * (Tile::kKeys / 2) + warp_index();
#pragma unroll
    for (int i = 0; i < kPairs; i++)
#pragma unroll
      for (int j = 0; j < kCols; j++) {
        const int d = from + warp_lane() + kWarp * j;
        v[i][j] = d < a.head_dim ? page.value_pair(first + kManyWarps * i, d) : make_float2(0.0f, 0.0f);
      }
  }
  __device__ __forceinline__ void store(float* out) const {
#pragma unroll
    for (int i = 0; i < kPairs; i++)
#pragma unroll
      for (int j = 0; j < kCols; j++) {
        float* at = out + 2 * (warp_index() + kManyWarps * i) * Tile::kWidth + warp_lane() + kWarp * j;
        at[0] = v[i][j].x;
        at[Tile::kWidth] = v[i][j].y;
      }
  }
};

// o of the chunk for columns from + kCols lane + j: the sums of its pages, in order.
template <KvForm kForm, int kCols>
static __device__ __forceinline__ void many_values(const AttentionArgs& a, const ManyTile<kForm>& t, int64_t chunk,
                                                   int from, SeenPages pages, ManyShared& m,
                                                   float o[kWarpQueries][kCols]) {
  constexpr int kSlices = ValueTile<kCols>::kSlices, kKeys = ValueTile<kCols>::kKeys;
  const int64_t key = chunk * kKeyChunk;
  const int begin = t.seen.begin > key ? static_cast<int>((t.seen.begin - key) / kPage) * kSlices : 0;
  const int end = t.seen.end < key + kKeyChunk ? static_cast<int>((t.seen.end - key + kPage - 1) / kPage) * kSlices
                                               : kChunkPages * kSlices;
  ValueSlice<kForm, kCols> slice;
  slice.load(a, t, chunk, begin, from);
  slice.store(m.kv[begin % 2]);
  __syncthreads();
  float sum[kWarpQueries][kCols];
  for (int i = begin; i < end; i++) {
    if (i + 1 < end) slice.load(a, t, chunk, i + 1, from);
    if (i % kSlices == 0) {
#pragma unroll
      for (int n = 0; n < kWarpQueries; n++)
#pragma unroll
        for (int j = 0; j < kCols; j++) sum[n][j] = 0.0f;
    }
    const unsigned page = 1u << (i / kSlices);
    const float* p = m.s + warp_index() * kWarpQueries * kKeyChunk + i * kKeys;
    if ((pages.not_all & page) == 0) multiply_values<kCols, false>(m.kv[i % 2], p, sum);
    if ((pages.not_all & page) != 0 && (pages.some & page) != 0) multiply_values<kCols, true>(m.kv[i % 2], p, sum);
    if (i % kSlices == kSlices - 1) {
#pragma unroll
      for (int n = 0; n < kWarpQueries; n++)
#pragma unroll
        for (int j = 0; j < kCols; j++) o[n][j] += sum[n][j];
    }
    if (i + 1 < end) slice.store(m.kv[(i + 1) % 2]);
    __syncthreads();
  }
}

// One block: up to 32 queries of one kv head. Sequences of up to `few` rows are none of its business.
template <KvForm kForm, int kCols>
static __global__ void __launch_bounds__(kManyThreads, 2)
    attention_many_kernel(const __grid_constant__ AttentionArgs a, int64_t size, int64_t parts, int64_t few) {
  wait_for_predecessors();
  VERDANT_DYNAMIC_SHARED(shared);
  ManyShared& m = *reinterpret_cast<ManyShared*>(shared);
  const int64_t kv_head = blockIdx.x % a.kv_heads, number = gridDim.x / a.kv_heads - 1 - blockIdx.x / a.kv_heads;
  const RowTile tile = row_tile(a, size, number / parts);
  const int64_t first = number % parts * kManyQueries, queries = (tile.end - tile.begin) * a.group - first;
  if (queries <= 0 || a.starts[tile.seq + 1] - a.starts[tile.seq] <= few) return;
  const int warp = warp_index(), lane = warp_lane();
  ManyTile<kForm> t = {tile.seq, kv_head, queries < kManyQueries ? static_cast<int>(queries) : kManyQueries, {}, {}};
  if (static_cast<int>(threadIdx.x) < t.count)
    m.queries[threadIdx.x] = tile_query(a, tile, kv_head, first + threadIdx.x);
  __syncthreads();
  const int own = t.count - warp * kWarpQueries;
  t.seen = seen_keys(m.queries, t.count);
  t.own = seen_keys(m.queries + warp * kWarpQueries, own < kWarpQueries ? own : kWarpQueries);
  SoftmaxState state = {};  // of query `lane` of the warp
  const auto y_of = [&](int n) {
    const Query& q = m.queries[warp * kWarpQueries + n];
    return a.y + (q.row * a.heads + q.head) * a.head_dim;
  };
  for (int64_t chunk = t.seen.begin / kKeyChunk; chunk * kKeyChunk < t.seen.end; chunk++) {
    many_scores(a, t, chunk, m);
    SoftmaxState part = {};
    const SeenPages pages = many_weights(a, t, chunk, m, part);
    const Factors f = merge_chunk<false>(state, part.m, part.l);
    for (int from = 0; from < a.head_dim; from += ValueTile<kCols>::kWidth) {
      float o[kWarpQueries][kCols] = {};
      many_values(a, t, chunk, from, pages, m, o);
#pragma unroll
      for (int n = 0; n < kWarpQueries; n++) {
        const Factors g = {__shfl_sync(kAllLanes, f.keep, n), __shfl_sync(kAllLanes, f.take, n)};
        if (n >= own) continue;
        float* y = y_of(n) + from;
#pragma unroll
        for (int j = 0; j < kCols; j++)
          if (from + kCols * lane + j < a.head_dim) y[kCols * lane + j] = merge_value(y[kCols * lane + j], o[n][j], g);
      }
    }
  }
  for (int n = 0; n < kWarpQueries; n++) {
    const float l = __shfl_sync(kAllLanes, state.l, n), top = __shfl_sync(kAllLanes, state.m, n);
    if (n >= own) continue;
    float* y = y_of(n);
    for (int from = 0; from < a.head_dim; from += ValueTile<kCols>::kWidth)
      for (int d = from + kCols * lane; d < from + kCols * (lane + 1) && d < a.head_dim; d++)
        y[d] = l == 0.0f ? 0.0f : y[d] / l;
    const Query& q = m.queries[warp * kWarpQueries + n];
    if (lane != 0 || a.stats == nullptr) continue;
    a.stats[2 * (q.row * a.heads + q.head)] = top;
    a.stats[2 * (q.row * a.heads + q.head) + 1] = l;
  }
}

}  // namespace verdant::cuda
