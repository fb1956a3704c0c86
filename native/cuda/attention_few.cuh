// Attention of few queries: blocks share out the chunks of a tile of queries, a second kernel merges them.
#pragma once
#include "cuda/attention.cuh"
#include "cuda/rounding.cuh"

namespace verdant::cuda {

constexpr int kQueryCols = 128;  // columns of q in shared memory at once

// Sequences of at most `rows` rows are cut into tiles of `size` rows; others are none of these kernels' business. Or
// each row is a tile, whatever its sequence has: there are no more rows than sequences, and keys lie in the cache.
struct SplitArgs {
  bool each;
  int64_t rows;          // a multiple of size
  int64_t size;          // rows of a tile
  int64_t parts;         // blocks that share the queries of a tile
  int64_t table_chunks;  // of a sequence of the cache, at most; 0: keys are rows
  float* states;         // (chunks of all sequences, rows, heads, 2): m and l
  float* sums;           // (chunks of all sequences, rows, heads, head_dim): o
};

// A row as a tile; mostly it is all its sequence has, and so have those before.
static __device__ __forceinline__ RowTile single_row(const AttentionArgs& a, int64_t row) {
  int64_t low = 0, high = a.sequences;
  if (a.starts[row] == row && a.starts[row + 1] > row) return {row, row, row + 1};
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (a.starts[middle] <= row ? low : high) = middle;
  }
  return {low, row, a.starts[low] <= row && row < a.starts[low + 1] ? row + 1 : row};
}

static __device__ __forceinline__ RowTile few_tile(const AttentionArgs& a, const SplitArgs& s, int64_t number) {
  if (s.each) return single_row(a, number);
  const int64_t tiles = s.rows / s.size, seq = number / tiles, last = a.starts[seq + 1];
  const int64_t begin = a.starts[seq] + number % tiles * s.size;
  if (last - a.starts[seq] > s.rows) return {seq, 0, 0};
  return {seq, begin, begin + s.size < last ? begin + s.size : last};
}

// Where the results of a chunk lie. Sequences of key rows share a number of chunks, one more each for their ends.
static __device__ __forceinline__ int64_t result_index(const AttentionArgs& a, const SplitArgs& s, int64_t seq,
                                                       int64_t chunk, const Query& q) {
  if (s.each) return (q.row * s.table_chunks + chunk) * a.heads + q.head;
  const int64_t first = s.table_chunks > 0 ? seq * s.table_chunks : a.key_starts[seq] / kKeyChunk + seq;
  return ((first + chunk) * s.rows + q.row - a.starts[seq]) * a.heads + q.head;
}

template <int kQ>
struct FewShared {
  Query queries[kQ];
  alignas(16) float q[kQueryCols * kQ];                  // (column, query)
  alignas(16) float p[kKeyChunk * kQ];                   // (key, query)
  float sums[kChunkPages * kQ * kValueCols];             // (page, query, column)
  float top[kChunkPages * kQ], total[kChunkPages * kQ];  // (page, query)
};

// Columns from .. from + 127 of the queries, zero where there is none.
template <int kQ>
static __device__ __forceinline__ void load_queries(const AttentionArgs& a, FewShared<kQ>& m, int count, int from) {
  for (int i = threadIdx.x; i < kQueryCols * kQ; i += kAttentionThreads) {
    const int n = i / kQueryCols, d = i % kQueryCols;
    const Query& q = m.queries[n];
    m.q[d * kQ + n] =
        n < count && from + d < a.head_dim ? a.q[(q.row * a.heads + q.head) * a.head_dim + from + d] : 0.0f;
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
static __device__ __forceinline__ void chunk_weights(const AttentionArgs& a, const KvPage<kForm>& page, bool any,
                                                     int64_t seq, int64_t key, int count, bool first,
                                                     FewShared<kQ>& m) {
  const int lane = warp_lane(), warp = warp_index();
  float s[kQ] = {};
  for (int from = 0; from < a.head_dim; from += kQueryCols) {
    if (first || a.head_dim > kQueryCols) {
      __syncthreads();
      load_queries(a, m, count, from);
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

// One block: up to kQ queries of a tile, every gridDim.y-th chunk of their keys.
template <KvForm kForm, int kQ>
static __global__ void __launch_bounds__(kAttentionThreads) attention_few_kernel(AttentionArgs a, SplitArgs split) {
  wait_for_predecessors();
  __shared__ FewShared<kQ> m;
  const int64_t kv_head = blockIdx.x % a.kv_heads, rest = blockIdx.x / a.kv_heads;
  const int64_t part = rest % split.parts, number = rest / split.parts;
  const RowTile tile = few_tile(a, split, number);
  const int64_t queries = (tile.end - tile.begin) * a.group - part * kQ;
  if (queries <= 0) return;
  const int count = queries < kQ ? static_cast<int>(queries) : kQ;
  if (static_cast<int>(threadIdx.x) < count)
    m.queries[threadIdx.x] = tile_query(a, tile, kv_head, part * kQ + threadIdx.x);
  __syncthreads();
  const KeyRange seen = seen_keys(m.queries, count);
  bool first = true;
  for (int64_t chunk = seen.begin / kKeyChunk + blockIdx.y; chunk * kKeyChunk < seen.end; chunk += gridDim.y) {
    const int64_t begin = chunk * kKeyChunk + warp_index() * kPage;
    const bool any = begin < seen.end && begin + kPage > seen.begin;
    const KvPage<kForm> page(a, tile.seq, kv_head, any ? begin / kPage : seen.begin / kPage, seen.end);
    chunk_weights(a, page, any, tile.seq, begin + warp_lane(), count, first, m);
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
}

constexpr int kMergeThreads = 128;
constexpr int kMergeAhead = 8;  // chunks that a thread reads at a time

// Row `slot` of those that few kernels take.
static __device__ __forceinline__ RowTile merge_tile(const AttentionArgs& a, const SplitArgs& s, int64_t slot) {
  if (s.each) return single_row(a, slot);
  const int64_t seq = slot / s.rows, begin = a.starts[seq] + slot % s.rows, end = a.starts[seq + 1];
  return {seq, begin, end - a.starts[seq] > s.rows || begin >= end ? begin : begin + 1};
}

// One block per row of a short sequence and head. kLog2: m of the chunks is in units of log2. `round`: where y goes in
// the forms that a linear wants, too.
template <bool kLog2>
static __global__ void attention_merge_kernel(AttentionArgs a, SplitArgs split, RoundTarget round) {
  wait_for_predecessors();
  __shared__ float rounded[kMergeThreads];
  const int64_t head = blockIdx.x % a.heads;
  const RowTile tile = merge_tile(a, split, blockIdx.x / a.heads);
  if (tile.begin >= tile.end) return;
  const Query q = tile_query(a, tile, head / a.group, head % a.group);
  const int64_t first = q.first / kKeyChunk, last = q.first < q.end ? (q.end + kKeyChunk - 1) / kKeyChunk : first;
  SoftmaxState s = {};
  for (int from = 0; from < a.head_dim; from += kMergeThreads) {
    const int d = from + threadIdx.x;
    float sum = 0.0f;
    s = {};
    for (int64_t c = first; c < last; c += kMergeAhead) {
      float m[kMergeAhead], l[kMergeAhead], o[kMergeAhead];  // they come together; a chunk without keys changes nothing
#pragma unroll
      for (int k = 0; k < kMergeAhead; k++) {
        const int64_t at = result_index(a, split, tile.seq, c + k < last ? c + k : c, q);
        m[k] = split.states[2 * at];
        l[k] = c + k < last ? split.states[2 * at + 1] : 0.0f;
        o[k] = d < a.head_dim ? split.sums[at * a.head_dim + d] : 0.0f;
      }
#pragma unroll
      for (int k = 0; k < kMergeAhead; k++) sum = merge_value(sum, o[k], merge_chunk<kLog2>(s, m[k], l[k]));
    }
    sum = s.l == 0.0f ? 0.0f : sum / s.l;
    if (d < a.head_dim) a.y[(q.row * a.heads + head) * a.head_dim + d] = sum;
    if (!round.wanted()) continue;
    rounded[threadIdx.x] = sum;
    __syncthreads();
    if (warp_index() == 0) {  // whose lanes hold four columns each
      const int at = 4 * warp_lane();
      round_quarter(rounded + at, q.row, (head * a.head_dim + from + at) / 4, from + at < a.head_dim, round);
    }
    __syncthreads();
  }
  if (threadIdx.x != 0 || a.stats == nullptr) return;
  a.stats[2 * (q.row * a.heads + head)] = kLog2 ? s.m * kLn2 : s.m;
  a.stats[2 * (q.row * a.heads + head) + 1] = s.l;
}

}  // namespace verdant::cuda
