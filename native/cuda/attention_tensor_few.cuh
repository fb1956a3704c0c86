// Attention of few queries on tensor cores: blocks share out the chunks of a tile of up to 16 queries. Warps take
// pages of keys first, as far as there are some, then 16 columns of the values each.
#pragma once
#include "cuda/attention_tensor.cuh"
#include "cuda/attention_turned.cuh"
#include "cuda/copies.cuh"

namespace verdant::cuda {

constexpr int kTensorFew = 16;  // queries
constexpr int kChunkBlocks = static_cast<int>(kKeyChunk) / kBlockKeys;

struct TensorFewShared {
  Query queries[kTensorFew];
  float top[kChunkPages][kTensorFew];
  alignas(16) uint4 q[kTileHead / 16][kWarp];   // fragments by step
  alignas(16) uint4 p[2 * kChunkPages][kWarp];  // fragments by 16 keys
};

// Threads of a block for heads of `cols` columns.
constexpr int tensor_few_threads(int cols) { return cols / 16 * kWarp; }

// Brings the values of a chunk nearer while its keys are multiplied.
template <int kCols>
static __device__ __forceinline__ void call_values(const AttentionArgs& a, int64_t seq, int64_t kv_head, int64_t chunk,
                                                   const KeyRange& seen) {
  constexpr int kLine = 128;
  const int lines = static_cast<int>(a.value_head + kLine - 1) / kLine;
  for (int i = static_cast<int>(threadIdx.x); i < kChunkPages * lines; i += tensor_few_threads(kCols)) {
    const int64_t page = chunk * kChunkPages + i / lines;
    if (some_in(seen, page * kPage, kPage)) call_line(TensorPage(a, seq, kv_head, page).values + i % lines * kLine);
  }
}

// Scores of the 16 queries with a page.
template <int kCols>
static __device__ __forceinline__ void page_scores(const AttentionArgs& a, const TensorPage& page,
                                                   const TensorFewShared& m, float s[4][4]) {
  constexpr int kAtOnce = kCols < 128 ? kCols : 128;  // columns
  const int t = warp_lane() % 4;
#pragma unroll 1
  for (int from = 0; from < kCols; from += kAtOnce) {
    uint2 k[kAtOnce / 4];
#pragma unroll
    for (int i = 0; i < kAtOnce / 4; i++) {
      const int d = from + i / 4 * 16 + 4 * t;
      k[i] = make_uint2(0, 0);
      if (d < a.head_dim) k[i] = *reinterpret_cast<const uint2*>(page.keys + 2 * (tile_key(i % 4) * a.head_dim + d));
    }
#pragma unroll
    for (int step = 0; step < kAtOnce / 16; step++) {
      const uint4 q = m.q[from / 16 + step][warp_lane()];
      const uint32_t x[4] = {q.x, q.y, q.z, q.w};
      multiply_page(s, x, k + 4 * step);
    }
  }
}

// References of the chunk's blocks for queries g and g + 8, and what sums are multiplied by before each block.
struct ChunkReferences {
  float value[kChunkBlocks][2], factor[kChunkBlocks][2];

  __device__ __forceinline__ ChunkReferences(const TensorFewShared& m, float scale) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int n = warp_lane() / 4 + 8 * h;
      float reference = -INFINITY;
#pragma unroll
      for (int b = 0; b < kChunkBlocks; b++) {
        float top = m.top[b * kBlockPages][n];
        for (int i = 1; i < kBlockPages; i++) top = fmaxf(top, m.top[b * kBlockPages + i][n]);
        factor[b][h] = move_reference(reference, top * scale);
        value[b][h] = reference;
      }
    }
  }
};

// Values of a block of keys, 16 columns of a warp from `column` on: as multiply_columns takes them, by 16 keys.
struct BlockValues {
  uint2 v[kBlockKeys / 16][2];

  __device__ __forceinline__ void load(const AttentionArgs& a, int64_t seq, int64_t kv_head, int64_t first_key,
                                       int column, const KeyRange& seen) {
    const int four = warp_lane() % 4 * 4;  // the first of the lane's keys of 16
#pragma unroll
    for (int page = 0; page < kBlockPages; page++) {
      const int64_t page_key = first_key + page * kPage;
      const bool here = column < a.head_dim && some_in(seen, page_key, kPage);
      const uint8_t* from = nullptr;
      if (here) from = TensorPage(a, seq, kv_head, page_key / kPage).values;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int key = i / 2 * 16 + four, d = column + dealt(warp_lane() / 4, i % 2);
        uint2 w = make_uint2(0, 0);
        if (here && d < a.head_dim) w = *reinterpret_cast<const uint2*>(from + 2 * (d * kPage + key));
        v[2 * page + i / 2][i % 2] = w;
      }
    }
  }

  // Zeros for keys that are not seen: once all have come.
  __device__ __forceinline__ void clear_unseen(int64_t first_key, const KeyRange& seen) {
#pragma unroll
    for (int page = 0; page < kBlockPages; page++) {
      const int64_t page_key = first_key + page * kPage;
      if (all_in(seen, page_key, kPage)) continue;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int64_t key = page_key + i / 2 * 16 + warp_lane() % 4 * 4;
        uint2& w = v[2 * page + i / 2][i % 2];
        w = make_uint2(pair_in_range(w.x, key, seen), pair_in_range(w.y, key + 2, seen));
      }
    }
  }
};

// o, l of the warp's 16 columns over a chunk, the values of the next block on their way.
static __device__ __forceinline__ void chunk_columns(const AttentionArgs& a, int64_t seq, int64_t kv_head,
                                                     int64_t first_key, const KeyRange& seen, const ChunkReferences& r,
                                                     const TensorFewShared& m, float o[2][4], float l[4]) {
  const int lane = warp_lane(), column = 16 * warp_index();
  BlockValues values[2];
  values[0].load(a, seq, kv_head, first_key, column, seen);
#pragma unroll
  for (int b = 0; b < kChunkBlocks; b++) {
    const int64_t next = first_key + (b + 1) * kBlockKeys;
    if (b + 1 < kChunkBlocks) values[(b + 1) % 2].load(a, seq, kv_head, next, column, seen);
    values[b % 2].clear_unseen(first_key + b * kBlockKeys, seen);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float f = r.factor[b][i / 2];
      o[0][i] *= f;
      o[1][i] *= f;
      l[i] *= f;
    }
#pragma unroll
    for (int i = 0; i < kBlockKeys / 16; i++) {
      const uint4 p = m.p[b * (kBlockKeys / 16) + i][lane];
      const uint32_t x[4] = {p.x, p.y, p.z, p.w};
      multiply_columns(o, x, values[b % 2].v[i]);
      mma(l, x, kOnes, kOnes);
    }
  }
}

// One block: up to 16 queries of a tile, every gridDim.y-th chunk of their keys. kTurned: q is not turned yet, its keys
// and values are not in the cache yet; each row is a tile.
template <int kCols, bool kTurned>
static __global__ void __launch_bounds__(tensor_few_threads(kCols), kTileHead / kCols)
    tensor_few_kernel(const __grid_constant__ AttentionArgs a, const __grid_constant__ SplitArgs split,
                      const __grid_constant__ RoundTarget round, const __grid_constant__ TurnedWrite write) {
  wait_for_predecessors();
  constexpr int kWarps = tensor_few_threads(kCols) / kWarp;
  constexpr int kPages = kWarps < kChunkPages ? kChunkPages / kWarps : 1;  // of a warp, as long as there are some
  __shared__ TensorFewShared m;
  const int64_t kv_head = blockIdx.x % a.kv_heads, rest = blockIdx.x / a.kv_heads;
  const int64_t part = rest % split.parts, number = rest / split.parts;
  const RowTile tile = few_tile(a, split, number);
  const int64_t queries = (tile.end - tile.begin) * a.group - part * kTensorFew;
  if (queries <= 0) {
    if (kTurned && tile.begin >= tile.end) write_turned(a, write, tile, number, kv_head, {});
    return;
  }
  const int count = queries < kTensorFew ? static_cast<int>(queries) : kTensorFew;
  const int warp = warp_index(), lane = warp_lane();
  if (static_cast<int>(threadIdx.x) < count)
    m.queries[threadIdx.x] = tile_query(a, tile, kv_head, part * kTensorFew + threadIdx.x);
  __syncthreads();
  uint32_t q[4];
  if constexpr (kTurned) {
    query_fragment(a, m.queries, count, warp, q,
                   [&](const Query& query, int d) { return turned_quad(write.q, query.row, query.head, d); });
  } else {
    query_fragment(a, m.queries, count, warp, q);
  }
  m.q[warp][lane] = make_uint4(q[0], q[1], q[2], q[3]);
  const KeyRange seen = seen_keys(m.queries, count);
  if constexpr (kTurned) write_turned(a, write, tile, number, kv_head, seen);
  const bool plain = plain_scores(a);
  const float scale = weight_scale(a, plain);
  __syncthreads();
  for (int64_t chunk = seen.begin / kKeyChunk + blockIdx.y; chunk * kKeyChunk < seen.end; chunk += gridDim.y) {
    call_values<kCols>(a, tile.seq, kv_head, chunk, seen);
    const int64_t first_key = chunk * kKeyChunk;
    float s[kPages][4][4] = {};
#pragma unroll
    for (int i = 0; i < kPages; i++) {
      const int page = warp * kPages + i;
      if (page >= kChunkPages) continue;
      const int64_t begin = first_key + page * kPage;
      if (some_in(seen, begin, kPage)) page_scores<kCols>(a, TensorPage(a, tile.seq, kv_head, begin / kPage), m, s[i]);
      see_page(a, plain, m.queries, count, tile.seq, begin, s[i]);
      for (int h = 0; h < 2; h++) {
        const float top = four_max(page_top(s[i], h));
        if (lane % 4 == 0) m.top[page][lane / 4 + 8 * h] = top;
      }
    }
    __syncthreads();
    const ChunkReferences r(m, scale);
#pragma unroll
    for (int i = 0; i < kPages; i++) {
      const int page = warp * kPages + i;
      if (page >= kChunkPages) continue;
      float reference[2] = {-INFINITY, -INFINITY};
#pragma unroll
      for (int b = 0; b < kChunkBlocks; b++)
        for (int h = 0; h < 2; h++) reference[h] = page / kBlockPages == b ? r.value[b][h] : reference[h];
      for (auto& row : s[i])
        for (int x = 0; x < 4; x++) row[x] = tensor_weight(row[x], scale, reference[x / 2]);
      for (int half = 0; half < 2; half++) {
        uint32_t p[4];
        weight_fragment(s[i], half, p);
        m.p[2 * page + half][lane] = make_uint4(p[0], p[1], p[2], p[3]);
      }
    }
    __syncthreads();
    float o[2][4] = {}, l[4] = {};
    chunk_columns(a, tile.seq, kv_head, first_key, seen, r, m, o, l);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int n = lane / 4 + 8 * h, d = 16 * warp + lane % 4 * 4;
      if (n >= count) continue;
      const int64_t slot = result_index(a, split, tile.seq, chunk, m.queries[n]);
      if (d < a.head_dim) *reinterpret_cast<float4*>(split.sums + slot * a.head_dim + d) = columns_of(o, h);
      if (warp != 0 || lane % 4 != 0) continue;
      split.states[2 * slot] = r.value[kChunkBlocks - 1][h];
      split.states[2 * slot + 1] = l[2 * h];
    }
    __syncthreads();
  }
  merge_last<true, tensor_few_threads(kCols)>(a, split, tile.seq, m.queries, count, round);
}

}  // namespace verdant::cuda
