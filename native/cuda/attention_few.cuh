// Attention of few queries: blocks share out the chunks of a tile of queries.
#pragma once
#include "cuda/attention_turned.cuh"

namespace verdant::cuda {

constexpr int kQueryCols = 128;  // columns of q in shared memory at once

template <int kQ>
struct FewShared {
  Query queries[kQ];
  alignas(16) float q[kQueryCols * kQ];                  // (column, query)
  alignas(16) float p[kKeyChunk * kQ];                   // (key, query)
  float sums[kChunkPages * kQ * kValueCols];             // (page, query, column)
  float top[kChunkPages * kQ], total[kChunkPages * kQ];  // (page, query)
};

// Columns from .. from + 127 of the queries, zero where there is none. `turn`: what makes them of q; or null.
template <int kQ>
static __device__ __forceinline__ void load_queries(const AttentionArgs& a, const RopeTurn* turn, FewShared<kQ>& m,
                                                    int count, int from) {
  for (int i = threadIdx.x; i < kQueryCols * kQ; i += kAttentionThreads) {
    const int n = i / kQueryCols, d = i % kQueryCols;
    const Query& q = m.queries[n];
    float x = 0.0f;
    if (n < count && from + d < a.head_dim)
      x = turn != nullptr ? turned_column(*turn, q.row, q.head, from + d)
                          : a.q[(q.row * a.heads + q.head) * a.head_dim + from + d];
    m.q[d * kQ + n] = x;
  }
}

// s[n] of the lane's key over `count` columns from `from`, a multiple of 32, whose q lies at `q` (column, query).
template <KvForm kForm, int kQ>
static __device__ __forceinline__ void score_columns(const KvPage<kForm>& page, int from, int count, const float* q,
                                                     float s[kQ]) {
  const int lane = warp_lane();
  float part[kQ] = {};
  float* sum = kForm == KvForm::kQ8 ? part : s;
  if (count >= kWarp) {
    typename KvPage<kForm>::Raw raw[kWarp];
#pragma unroll
    for (int d = 0; d < kWarp; d++) raw[d] = page.raw_key(lane, from + d);
#pragma unroll
    for (int d = 0; d < kWarp; d++) {
      const float k = page.decode(raw[d]);
#pragma unroll
      for (int n = 0; n < kQ; n++) sum[n] = fmaf(q[d * kQ + n], k, sum[n]);
    }
  } else {
    for (int d = 0; d < count; d++) {
      const float k = page.decode(page.raw_key(lane, from + d));
#pragma unroll
      for (int n = 0; n < kQ; n++) sum[n] = fmaf(q[d * kQ + n], k, sum[n]);
    }
  }
  if constexpr (kForm == KvForm::kQ8) {
    const float scale = page.key_scale(lane, from / kKvScaleCols);
#pragma unroll
    for (int n = 0; n < kQ; n++) s[n] = from == 0 ? part[n] * scale : fmaf(part[n], scale, s[n]);
  }
}

// Sums of a page's 32 keys for columns from + lane + 32 j, keys ascending, into m.sums.
template <KvForm kForm, int kQ>
static __device__ __forceinline__ void page_values(const KvPage<kForm>& page, FewShared<kQ>& m, int from) {
  constexpr int kCols = kValueCols / kWarp, kPairs = 4;
  const int lane = warp_lane(), warp = warp_index();
  const float* p = m.p + warp * kPage * kQ;
  float sum[kQ][kCols] = {};
  for (int i = 0; i < kPage / 2; i += kPairs) {
    float2 v[kPairs][kCols];
#pragma unroll
    for (int t = 0; t < kPairs; t++)
#pragma unroll
      for (int j = 0; j < kCols; j++) {
        const int d = from + lane + kWarp * j;
        v[t][j] = d < page.head_dim ? page.value_pair(i + t, d) : make_float2(0.0f, 0.0f);
      }
#pragma unroll
    for (int t = 0; t < kPairs; t++)
#pragma unroll
      for (int n = 0; n < kQ; n++) {
        const float even = p[2 * (i + t) * kQ + n], odd = p[(2 * (i + t) + 1) * kQ + n];
#pragma unroll
        for (int j = 0; j < kCols; j++)
          sum[n][j] = add_weighted(odd, v[t][j].y, add_weighted(even, v[t][j].x, sum[n][j]));
      }
  }
#pragma unroll
  for (int n = 0; n < kQ; n++)
#pragma unroll
    for (int j = 0; j < kCols; j++) m.sums[(warp * kQ + n) * kValueCols + lane + kWarp * j] = sum[n][j];
}

// Scores of the chunk become weights in m.p; m.top and m.total get each page's maximum and sum. Warps are pages, lanes
// are keys; `any`: a query sees some key of the page. Reached by all threads.
template <KvForm kForm, int kQ>
static __device__ __forceinline__ void chunk_weights(const AttentionArgs& a, const RopeTurn* turn,
                                                     const KvPage<kForm>& page, bool any, int64_t seq, int64_t key,
                                                     int count, bool first, FewShared<kQ>& m) {
  const int lane = warp_lane(), warp = warp_index();
  float s[kQ] = {};
  for (int from = 0; from < a.head_dim; from += kQueryCols) {
    if (first || a.head_dim > kQueryCols) {
      __syncthreads();
      load_queries(a, turn, m, count, from);
      __syncthreads();
    }
    for (int d = 0; any && d < kQueryCols && from + d < a.head_dim; d += kWarp) {
      const int left = a.head_dim - from - d;
      score_columns<kForm, kQ>(page, from + d, left < kWarp ? left : kWarp, m.q + d * kQ, s);
    }
  }
#pragma unroll
  for (int n = 0; n < kQ; n++) {
    s[n] = any && n < count ? finish_score(a, m.queries[n], seq, key, s[n]) : -INFINITY;
    const float top = warp_max(s[n]);
    if (lane == 0) m.top[warp * kQ + n] = top;
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < kQ; n++) {
    float top = m.top[n];
    for (int w = 1; w < kChunkPages; w++) top = fmaxf(top, m.top[w * kQ + n]);
    const float p = weight_of(s[n], top);
    const float total = warp_sum(p < 0.0f ? 0.0f : p);
    if (lane == 0) m.total[warp * kQ + n] = total;
    m.p[(warp * kPage + lane) * kQ + n] = kForm == KvForm::kQ8 && !(p < 0.0f) ? p * page.value_scale(lane) : p;
  }
  __syncwarp();
}

// One block: up to kQ queries of a tile, every gridDim.y-th chunk of their keys. kTurned: as tensor_few_kernel.
template <KvForm kForm, int kQ, bool kTurned>
static __global__ void __launch_bounds__(kAttentionThreads)
    attention_few_kernel(const __grid_constant__ AttentionArgs a, const __grid_constant__ SplitArgs split,
                         const __grid_constant__ RoundTarget round, const __grid_constant__ TurnedWrite write) {
  wait_for_predecessors();
  __shared__ FewShared<kQ> m;
  const int64_t kv_head = blockIdx.x % a.kv_heads, rest = blockIdx.x / a.kv_heads;
  const int64_t part = rest % split.parts, number = rest / split.parts;
  const RowTile tile = few_tile(a, split, number);
  const int64_t queries = (tile.end - tile.begin) * a.group - part * kQ;
  if (queries <= 0) {
    if (kTurned && tile.begin >= tile.end) write_turned(a, write, tile, number, kv_head, {});
    return;
  }
  const int count = queries < kQ ? static_cast<int>(queries) : kQ;
  if (static_cast<int>(threadIdx.x) < count)
    m.queries[threadIdx.x] = tile_query(a, tile, kv_head, part * kQ + threadIdx.x);
  __syncthreads();
  const KeyRange seen = seen_keys(m.queries, count);
  if constexpr (kTurned) write_turned(a, write, tile, number, kv_head, seen);
  bool first = true;
  for (int64_t chunk = seen.begin / kKeyChunk + blockIdx.y; chunk * kKeyChunk < seen.end; chunk += gridDim.y) {
    const int64_t begin = chunk * kKeyChunk + warp_index() * kPage;
    const bool any = begin < seen.end && begin + kPage > seen.begin;
    const KvPage<kForm> page(a, tile.seq, kv_head, any ? begin / kPage : seen.begin / kPage, seen.end);
    chunk_weights(a, kTurned ? &write.q : nullptr, page, any, tile.seq, begin + warp_lane(), count, first, m);
    first = false;
    const auto slot = [&](int n) { return result_index(a, split, tile.seq, chunk, m.queries[n]); };
    for (int from = 0; from < a.head_dim; from += kValueCols) {
      if (any) page_values(page, m, from);
      __syncthreads();
      for (int i = threadIdx.x; i < count * kValueCols; i += kAttentionThreads) {
        const int n = i / kValueCols, d = i % kValueCols;
        float sum = 0.0f;
        for (int64_t w = 0; w < kChunkPages; w++) {
          const int64_t at = chunk * kKeyChunk + w * kPage;
          if (at < seen.end && at + kPage > seen.begin) sum += m.sums[(w * kQ + n) * kValueCols + d];
        }
        if (from + d < a.head_dim) split.sums[slot(n) * a.head_dim + from + d] = sum;
      }
      __syncthreads();
    }
    if (static_cast<int>(threadIdx.x) < count) {
      const int n = threadIdx.x;
      float top = m.top[n], total = 0.0f;
      for (int w = 1; w < kChunkPages; w++) top = fmaxf(top, m.top[w * kQ + n]);
      for (int w = 0; w < kChunkPages; w++) total += m.total[w * kQ + n];
      split.states[2 * slot(n)] = top;
      split.states[2 * slot(n) + 1] = total;
    }
    __syncthreads();
  }
  merge_last<false, kAttentionThreads>(a, split, tile.seq, m.queries, count, round);
}

}  // namespace verdant::cuda
