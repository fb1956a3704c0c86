// Attention of many queries on tensor cores: a block takes a tile of 64 queries, 16 a warp, through blocks of 64
// keys. Keys and values of the next block are copied to shared memory while one is multiplied.
#pragma once
#include "cuda/attention_tensor.cuh"
#include "cuda/copies.cuh"

namespace verdant::cuda {

constexpr int kTensorWarps = 4, kTensorThreads = kTensorWarps * kWarp, kTensorQueries = 16 * kTensorWarps;

// Rows of keys, and of the values of a column. Their parts of 16 bytes are exchanged in pairs, so that what lanes read
// at a time lies in different banks.
template <int kCols>
struct TensorStage {
  static constexpr int kPartWords = 4, kKeyWords = kCols / 2, kColumnWords = static_cast<int>(kPage) / 2;
  uint32_t keys[kBlockPages][kPage * kKeyWords];
  uint32_t values[kBlockPages][kCols * kColumnWords];

  static __device__ __forceinline__ int key_place(int key, int part) {
    return key * kKeyWords + (part ^ ((key & 1) << 1 | (key & 4))) * kPartWords;
  }
  static __device__ __forceinline__ int value_place(int d, int part) {
    return d * kColumnWords + (part ^ (d >> 1 & 2)) * kPartWords;
  }
};

template <int kCols>
struct TensorShared {
  TensorStage<kCols> stages[2];
  float y[kCols / 2][kTensorThreads];  // as o lies in registers
  Query queries[kTensorQueries];
};

struct TensorTile {
  int64_t seq, kv_head;
  int count;      // of queries
  KeyRange seen;  // by any
};

// The block's tile and its queries, for the next __syncthreads; false: it has none. Sequences of up to `few` rows are
// none of its business.
static __device__ __forceinline__ bool begin_tile(const AttentionArgs& a, int64_t size, int64_t parts, int64_t few,
                                                  Query* queries, TensorTile& t) {
  const int64_t kv_head = blockIdx.x % a.kv_heads, number = gridDim.x / a.kv_heads - 1 - blockIdx.x / a.kv_heads;
  const RowTile tile = row_tile(a, size, number / parts);
  const int64_t first = number % parts * kTensorQueries, left = (tile.end - tile.begin) * a.group - first;
  if (left <= 0 || a.starts[tile.seq + 1] - a.starts[tile.seq] <= few) return false;
  t = {tile.seq, kv_head, left < kTensorQueries ? static_cast<int>(left) : kTensorQueries, {}};
  if (static_cast<int>(threadIdx.x) < t.count) queries[threadIdx.x] = tile_query(a, tile, kv_head, first + threadIdx.x);
  return true;
}

// Zeros, for the columns past head_dim.
template <int kCols>
static __device__ __forceinline__ void clear_stages(TensorStage<kCols>* stages, int count) {
  auto* words = reinterpret_cast<uint32_t*>(stages);
  for (int i = static_cast<int>(threadIdx.x); i < count * static_cast<int>(sizeof *stages / 4); i += kTensorThreads)
    words[i] = 0;
}

// The queries of a warp, what some and what all of them see, and how their scores become weights.
struct TensorQueries {
  const Query* queries;
  int count;
  KeyRange any, all;
  bool plain;
  float scale;

  // t.seen is made, too.
  __device__ __forceinline__ TensorQueries(const AttentionArgs& a, const Query* all_queries, TensorTile& t)
      : queries(all_queries + 16 * warp_index()), plain(plain_scores(a)), scale(weight_scale(a, plain)) {
    const int left = t.count - 16 * warp_index();
    count = left < 0 ? 0 : left < 16 ? left : 16;
    t.seen = warp_seen_keys(all_queries, t.count);
    any = warp_seen_keys(queries, count);
    all = common_keys(queries, count);
  }
  __device__ __forceinline__ void see(const AttentionArgs& a, int64_t seq, int64_t first_key,
                                      float s[kBlockPages][4][4]) const {
    if (plain && all_in(all, first_key, kBlockKeys)) return;
    for (int page = 0; page < kBlockPages; page++)
      see_page(a, plain, queries, count, seq, first_key + page * kPage, s[page]);
  }
};

// Asks for the keys (or the values) of block `block` that are seen. Columns past head_dim stay as they are.
template <bool kOfKeys, int kCols>
static __device__ __forceinline__ void call_part(const AttentionArgs& a, const TensorTile& t, int64_t block,
                                                 TensorStage<kCols>& stage) {
  const int row_parts = a.head_dim / 8;
  for (int page = 0; page < kBlockPages; page++) {
    const int64_t number = block * kBlockPages + page;
    if (!some_in(t.seen, number * kPage, kPage)) continue;
    const TensorPage p(a, t.seq, t.kv_head, number);
    for (int i = static_cast<int>(threadIdx.x); i < 4 * a.head_dim; i += kTensorThreads)
      kOfKeys ? copy_16(stage.keys[page] + stage.key_place(i / row_parts, i % row_parts), p.keys + 16 * i)
              : copy_16(stage.values[page] + stage.value_place(i / 4, i % 4), p.values + 16 * i);
  }
}
template <int kCols>
static __device__ __forceinline__ void call_block(const AttentionArgs& a, const TensorTile& t, int64_t block,
                                                  TensorStage<kCols>& stage) {
  call_part<true>(a, t, block, stage);
  call_part<false>(a, t, block, stage);
  copies_close();
}

// Values of keys out of range become zeros.
template <int kCols>
static __device__ __forceinline__ void clear_unseen(const KeyRange& seen, int64_t block, TensorStage<kCols>& stage) {
  constexpr int kWords = kCols * TensorStage<kCols>::kColumnWords;
  for (int i = static_cast<int>(threadIdx.x); i < kBlockPages * kWords; i += kTensorThreads) {
    const int page = i / kWords, d = i % kWords / 16, pair = i % 16;
    uint32_t& word = stage.values[page][stage.value_place(d, pair / 4) + pair % 4];
    word = pair_in_range(word, block * kBlockKeys + page * kPage + 2 * pair, seen);
  }
}

// 16 queries of a warp on their way through the blocks of a chunk.
template <int kCols>
struct TensorWarp {
  float o[kCols / 16][2][4], l[4], reference[2];
  SoftmaxState state[2];

  __device__ __forceinline__ void begin_chunk() {
    for (auto& columns : o)
      for (auto& tile : columns)
        for (float& x : tile) x = 0.0f;
    for (float& x : l) x = 0.0f;
    reference[0] = reference[1] = -INFINITY;
  }

  // q(step, out): query_fragment.
  template <class Fragment>
  __device__ __forceinline__ void scores(const TensorStage<kCols>& stage, const Fragment& q,
                                         float s[kBlockPages][4][4]) const {
    const int t = warp_lane() % 4;
    [[maybe_unused]] constexpr int kSteps =
        kCols > 128 ? 4 : kCols / 16;  // unrolled: q of all of them lies in registers, or none
#pragma unroll kSteps
    for (int step = 0; step < kCols / 16; step++) {
      uint32_t x[4];
      q(step, x);
#pragma unroll
      for (int page = 0; page < kBlockPages; page++) {
        uint2 k[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
          k[i] = *reinterpret_cast<const uint2*>(stage.keys[page] + stage.key_place(tile_key(i), 2 * step + t / 2) +
                                                 t % 2 * 2);
        multiply_page(s[page], x, k);
      }
    }
  }

  // Scores become weights; o and l follow where a reference moves.
  __device__ __forceinline__ void weights(float s[kBlockPages][4][4], float scale) {
    float f[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float top = page_top(s[0], h);
      for (int page = 1; page < kBlockPages; page++) top = fmaxf(top, page_top(s[page], h));
      f[h] = move_reference(reference[h], four_max(top) * scale);
    }
    if (__any_sync(kAllLanes, f[0] != 1.0f || f[1] != 1.0f)) {
#pragma unroll
      for (int i = 0; i < kCols / 2; i++) o[i / 8][i / 4 % 2][i % 4] *= f[i % 4 / 2];
#pragma unroll
      for (int i = 0; i < 4; i++) l[i] *= f[i / 2];
    }
#pragma unroll
    for (int i = 0; i < kBlockPages * 16; i++) {
      float& x = s[i / 16][i / 4 % 4][i % 4];
      x = tensor_weight(x, scale, reference[i % 4 / 2]);
    }
  }

  __device__ __forceinline__ void multiply_values(const TensorStage<kCols>& stage, const float p[kBlockPages][4][4]) {
    const int g = warp_lane() / 4, t = warp_lane() % 4;
#pragma unroll
    for (int i = 0; i < 2 * kBlockPages; i++) {
      uint32_t x[4];
      weight_fragment(p[i / 2], i % 2, x);
#pragma unroll
      for (int n = 0; n < kCols / 16; n++) {
        uint2 v[2];
#pragma unroll
        for (int tile = 0; tile < 2; tile++)
          v[tile] = *reinterpret_cast<const uint2*>(
              stage.values[i / 2] + stage.value_place(16 * n + dealt(g, tile), i % 2 * 2 + t / 2) + t % 2 * 2);
        multiply_columns(o[n], x, v);
      }
      mma(l, x, kOnes, kOnes);
    }
  }

  // How the chunk enters y of query g + 8 h.
  __device__ __forceinline__ Factors take_chunk(int h) { return merge_chunk<true>(state[h], reference[h], l[2 * h]); }
  __device__ __forceinline__ void end_chunk(float y[kCols / 2][kTensorThreads]) {
    const Factors f[2] = {take_chunk(0), take_chunk(1)};
#pragma unroll
    for (int i = 0; i < kCols / 2; i++) {
      float& to = y[i][threadIdx.x];
      to = merge_value(to, o[i / 8][i / 4 % 2][i % 4], f[i % 4 / 2]);
    }
  }

  __device__ __forceinline__ void store_stats(const AttentionArgs& a, const Query* queries, int count) const {
    for (int h = 0; h < 2; h++) {
      const int n = warp_lane() / 4 + 8 * h;
      if (n >= count || warp_lane() % 4 != 0 || a.stats == nullptr) continue;
      float* to = a.stats + 2 * (queries[n].row * a.heads + queries[n].head);
      to[0] = state[h].m * kLn2;
      to[1] = state[h].l;
    }
  }
};

// One block: up to 64 queries of one kv head.
template <int kCols>
static __global__ void __launch_bounds__(kTensorThreads, 2)
    tensor_many_kernel(const __grid_constant__ AttentionArgs a, int64_t size, int64_t parts, int64_t few) {
  wait_for_predecessors();
  VERDANT_DYNAMIC_SHARED(shared);
  TensorShared<kCols>& m = *reinterpret_cast<TensorShared<kCols>*>(shared);
  TensorTile t;
  if (!begin_tile(a, size, parts, few, m.queries, t)) return;
  if (a.head_dim < kCols) clear_stages(m.stages, 2);
  for (int i = 0; i < kCols / 2; i++) m.y[i][threadIdx.x] = 0.0f;
  __syncthreads();
  const TensorQueries mine(a, m.queries, t);
  TensorWarp<kCols> w = {};
  uint32_t q[kCols / 16][4];
#pragma unroll
  for (int step = 0; step < kCols / 16; step++) query_fragment(a, mine.queries, mine.count, step, q[step]);
  const auto fragment = [&q](int step, uint32_t x[4]) {
    for (int i = 0; i < 4; i++) x[i] = q[step][i];
  };
  const int64_t begin = t.seen.begin / kBlockKeys, end = (t.seen.end + kBlockKeys - 1) / kBlockKeys;
  if (begin < end) call_block(a, t, begin, m.stages[begin % 2]);
  w.begin_chunk();
  for (int64_t block = begin; block < end; block++) {
    TensorStage<kCols>& stage = m.stages[block % 2];
    const int64_t first_key = block * kBlockKeys;
    copies_wait();
    __syncthreads();
    if (block + 1 < end) call_block(a, t, block + 1, m.stages[(block + 1) % 2]);
    if (!all_in(t.seen, first_key, kBlockKeys)) {
      clear_unseen(t.seen, block, stage);
      __syncthreads();
    }
    if (some_in(mine.any, first_key, kBlockKeys)) {
      float s[kBlockPages][4][4] = {};
      w.scores(stage, fragment, s);
      mine.see(a, t.seq, first_key, s);
      w.weights(s, mine.scale);
      w.multiply_values(stage, s);
    }
    if ((block + 1) % (kKeyChunk / kBlockKeys) != 0 && block + 1 < end) continue;
    w.end_chunk(m.y);
    w.begin_chunk();
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int n = warp_lane() / 4 + 8 * h;
    if (n >= mine.count) continue;
    float* y = a.y + (mine.queries[n].row * a.heads + mine.queries[n].head) * a.head_dim;
    const float l = w.state[h].l;
#pragma unroll
    for (int i = 0; i < kCols / 16; i++) {
      const int d = 16 * i + warp_lane() % 4 * 4;
      if (d >= a.head_dim) continue;
      float o[2][4];
      for (int c = 0; c < 8; c++) o[c / 4][c % 4] = l == 0.0f ? 0.0f : m.y[8 * i + c][threadIdx.x] / l;
      *reinterpret_cast<float4*>(y + d) = columns_of(o, h);
    }
  }
  w.store_stats(a, mine.queries, mine.count);
}

}  // namespace verdant::cuda
