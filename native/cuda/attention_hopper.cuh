// Attention of many queries on Hopper: a block takes a tile of 128 queries through blocks of 64 keys, which its copy
// engine brings; two warpgroups multiply for 64 queries each, the scores of the next block while they weigh the values
// of one. The bits are those of attention_tensor.cuh: products of 16 are one exact sum cut once, and come in the same
// order. Rows of ones below the columns of the values give l.
#pragma once
#include "cuda/attention_tensor.cuh"
#include "cuda/wgmma.cuh"

namespace verdant::cuda {

constexpr int kTileReaders = 2 * 128, kTileThreads = 128 + kTileReaders, kTileQueries = 128, kTileStages = 4;
constexpr int kOnesRows = 8, kColumnBytes = 2 * static_cast<int>(kPage);

// What a launch reads: pages of keys as tiles of (page, 64) of rows of head_dim, of values as tiles of (head_dim,
// page).
struct TileAttention {
  AttentionArgs a;
  int64_t size, parts, few;  // as of tensor_many_kernel
  TensorMap keys, values;
  int64_t key_rows, value_rows;  // of a block of pages
};

template <int kCols>
struct TileStage {
  uint8_t keys[kCols / 64][kBlockKeys * kTileBytes];
  uint8_t values[kBlockPages][(kCols + kOnesRows) * kColumnBytes];
};

// `full`: a stage has come, and its values outside of what the tile sees are zeros; `landed`: it has come where that is
// still to be done; `empty`: all who read it are done.
template <int kCols>
struct TileShared {
  TileStage<kCols> stages[kTileStages];
  float y[kCols / 2][kTileReaders];  // as o lies in registers
  Query queries[kTileQueries];
  Barrier full[kTileStages], landed, empty[kTileStages];
};

#if defined(VERDANT_HOPPER)

// Blocks begin .. end - 1 of keys; begin = end = `none` where no key is seen.
struct BlockRange {
  int64_t begin, end;
};
static __device__ __forceinline__ BlockRange block_range(const KeyRange& r, int64_t none = 0) {
  if (r.begin >= r.end) return {none, none};
  return {r.begin / kBlockKeys, (r.end + kBlockKeys - 1) / kBlockKeys};
}

// Asks for the pages of a block that are seen. One thread.
template <int kCols>
static __device__ __forceinline__ void bring_block(const TileAttention& h, int64_t seq, int64_t head, int64_t block,
                                                   const KeyRange& seen, TileStage<kCols>& stage, Barrier& b) {
  constexpr int kBytes = static_cast<int>(kPage) * (kCols / 64 * kTileBytes) + kCols * kColumnBytes;
  int64_t at[kBlockPages];
  int bytes = 0;
#pragma unroll
  for (int i = 0; i < kBlockPages; i++) {
    const int64_t page = block * kBlockPages + i;
    at[i] = some_in(seen, page * kPage, kPage) ? page_block(h.a, seq, page) : -1;
    bytes += at[i] < 0 ? 0 : kBytes;
  }
  barrier_expect(b, bytes);
#pragma unroll
  for (int i = 0; i < kBlockPages; i++) {
    if (at[i] < 0) continue;
    for (int part = 0; part < kCols / 64; part++)
      load_tile(h.keys, b, stage.keys[part] + i * kPage * kTileBytes, at[i] * h.key_rows + head * kPage, part * 64);
    load_tile(h.values, b, stage.values[i], at[i] * h.value_rows + head * kCols, 0);
  }
}

// Values of keys that are not seen become zeros. The first warpgroup.
template <int kCols>
static __device__ __forceinline__ void clear_block(int64_t block, const KeyRange& seen, TileStage<kCols>& stage) {
  constexpr int kWords = kColumnBytes / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kBlockPages * kCols * kWords; i += 128) {
    const int page = i / (kCols * kWords), d = i / kWords % kCols, pair = i % kWords;
    const int place = d * kWords + ((pair / 4 ^ (d >> 1 & 3)) * 4 + pair % 4);
    uint32_t& word = reinterpret_cast<uint32_t*>(stage.values[page])[place];
    word = pair_in_range(word, block * kBlockKeys + page * kPage + 2 * pair, seen);
  }
}

// The first warpgroup brings all blocks of the tile.
template <int kCols>
static __device__ __forceinline__ void bring_blocks(const TileAttention& h, int64_t seq, int64_t kv_head,
                                                    const KeyRange& seen, TileShared<kCols>& m) {
  const BlockRange all = block_range(seen);
  RingPlace<kTileStages> at;
  int landed = 0;
  for (int64_t block = all.begin; block < all.end; block++, at.next()) {
    TileStage<kCols>& stage = m.stages[at.stage];
    const bool whole = all_in(seen, block * kBlockKeys, kBlockKeys);
    if (threadIdx.x == 0) {
      barrier_wait(m.empty[at.stage], at.turn ^ 1);
      bring_block<kCols>(h, seq, h.a.layer_heads + kv_head, block, seen, stage, whole ? m.full[at.stage] : m.landed);
    }
    if (whole) continue;
    barrier_wait(m.landed, landed);
    landed ^= 1;
    clear_block<kCols>(block, seen, stage);
    stores_before_products();
    group_sync();
    if (threadIdx.x == 0) barrier_arrive(m.full[at.stage]);
  }
}

// 64 queries of a warpgroup on their way through the blocks of a chunk; lane 4 g + t of a warp has queries g and g + 8
// of its 16.
template <int kCols>
struct TileReader {
  uint32_t q[kCols / 16][4];
  float s[kBlockKeys / 2], o[(kCols + kOnesRows) / 2];
  uint32_t p[kBlockKeys / 16][4];
  float reference[2];
  SoftmaxState state[2];
  int first[2], end[2];  // keys that queries g and g + 8 see

  __device__ __forceinline__ void load(const AttentionArgs& a, const Query* queries, int count) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int n = warp_lane() / 4 + 8 * h;
      const Query& query = queries[n < count ? n : 0];
      const float* x = a.q + (query.row * a.heads + query.head) * a.head_dim + warp_lane() % 4 * 2;
      reference[h] = -INFINITY;
      state[h] = {0.0f, 0.0f};
      first[h] = query.first;
      end[h] = n < count ? query.end : 0;
#pragma unroll
      for (int i = 0; i < kCols / 8; i++) {
        const float2 pair = n < count ? *reinterpret_cast<const float2*>(x + 8 * i) : make_float2(0.0f, 0.0f);
        q[i / 2][i % 2 * 2 + h] = bf16_pair(pair.x, pair.y);
      }
    }
  }

  // s = q k^T, under way.
  __device__ __forceinline__ void multiply_keys(const TileStage<kCols>& stage) {
    const uint64_t keys = tile_operand(stage.keys[0]);
    products_begin();
#pragma unroll
    for (int i = 0; i < kCols / 16; i++)
      multiply_fragment<kBlockKeys>(s, q[i], keys + (i / 4 * sizeof stage.keys[0] >> 4) + 2 * (i % 4), i > 0);
    products_close();
  }
  // o and l (+)= p v, under way.
  __device__ __forceinline__ void multiply_values(const TileStage<kCols>& stage, bool add) {
    const uint64_t values = tile_operand<kColumnBytes>(stage.values[0]);
    products_begin();
#pragma unroll
    for (int i = 0; i < kBlockKeys / 16; i++)
      multiply_fragment<kCols + kOnesRows>(o, p[i], values + (i / 2 * sizeof stage.values[0] >> 4) + 2 * (i % 2),
                                           add || i > 0);
    products_close();
  }

  // Scores become weights in s; f: what sums before are multiplied by. `whole`: all queries of the warp see all keys.
  __device__ __forceinline__ void weights(int64_t first_key, bool whole, float scale, float f[2]) {
    const int base = static_cast<int>(first_key);
    float top[2] = {-INFINITY, -INFINITY};
    if (!whole) {
#pragma unroll
      for (int i = 0; i < kBlockKeys / 2; i++) {
        const int h = i / 2 % 2, key = base + sum_column(i);
        if (key < first[h] || key >= end[h]) s[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int i = 0; i < kBlockKeys / 2; i++) top[i / 2 % 2] = fmaxf(top[i / 2 % 2], s[i]);
#pragma unroll
    for (int h = 0; h < 2; h++) f[h] = move_reference(reference[h], four_max(top[h]) * scale);
#pragma unroll
    for (int i = 0; i < kBlockKeys / 2; i++) s[i] = tensor_weight(s[i], scale, reference[i / 2 % 2]);
  }
  // Weights as operands. No product is under way.
  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int i = 0; i < kBlockKeys / 4; i++) p[i / 4][i % 4] = bf16_pair(s[2 * i], s[2 * i + 1]);
  }
  __device__ __forceinline__ void rescale(const float f[2]) {
    if (!__any_sync(kAllLanes, f[0] != 1.0f || f[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < (kCols + kOnesRows) / 2; i++) o[i] *= f[i / 2 % 2];
  }

  // The chunk, whose last references these were, enters y.
  __device__ __forceinline__ void end_chunk(const float last[2], float (*y)[kTileReaders]) {
    const Factors f[2] = {merge_chunk<true>(state[0], last[0], o[kCols / 2]),
                          merge_chunk<true>(state[1], last[1], o[kCols / 2 + 2])};
    const int thread = static_cast<int>(threadIdx.x) - 128;
#pragma unroll
    for (int i = 0; i < kCols / 2; i++) y[i][thread] = merge_value(y[i][thread], o[i], f[i / 2 % 2]);
  }

  __device__ __forceinline__ void store(const AttentionArgs& a, const Query* queries, int count,
                                        const float (*y)[kTileReaders]) const {
    const int thread = static_cast<int>(threadIdx.x) - 128;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int n = warp_lane() / 4 + 8 * h;
      if (n >= count) continue;
      const int64_t at = queries[n].row * a.heads + queries[n].head;
      float* to = a.y + at * a.head_dim + warp_lane() % 4 * 2;
      const float l = state[h].l;
#pragma unroll
      for (int i = 0; i < kCols / 8; i++) {
        const float x = y[4 * i + 2 * h][thread], next = y[4 * i + 2 * h + 1][thread];
        *reinterpret_cast<float2*>(to + 8 * i) = l == 0.0f ? make_float2(0.0f, 0.0f) : make_float2(x / l, next / l);
      }
      if (warp_lane() % 4 != 0 || a.stats == nullptr) continue;
      a.stats[2 * at] = state[h].m * kLn2;
      a.stats[2 * at + 1] = l;
    }
  }
};

static __device__ __forceinline__ void release_block(Barrier& empty) {
  if (warp_lane() == 0) barrier_arrive(empty);
}
// Lets `count` blocks go by.
template <int kCols>
static __device__ __forceinline__ void pass_blocks(int64_t count, RingPlace<kTileStages>& at, TileShared<kCols>& m) {
  for (int64_t i = 0; i < count; i++, at.next()) {
    barrier_wait(m.full[at.stage], at.turn);
    release_block(m.empty[at.stage]);
  }
}

// A warpgroup takes its queries through its blocks; the tile's others only pass by. mine: the 16 queries of the warp;
// group: what the 64 see.
template <int kCols>
static __device__ __forceinline__ void read_blocks(const TileAttention& h, const KeyRange& seen, const KeyRange& group,
                                                   const Query* mine, int count, TileShared<kCols>& m) {
  const BlockRange all = block_range(seen), own = block_range(group, all.begin);
  const KeyRange whole = common_keys(mine, count);
  const float scale = h.a.scale * kLog2E;
  TileReader<kCols> r;
  r.load(h.a, mine, count);
  RingPlace<kTileStages> at;
  pass_blocks(own.begin - all.begin, at, m);
  if (own.begin >= own.end) {
    pass_blocks(all.end - all.begin, at, m);
    return r.store(h.a, mine, count, m.y);
  }
  float f[2];
  barrier_wait(m.full[at.stage], at.turn);
  r.multiply_keys(m.stages[at.stage]);
  products_wait<0>();
  products_done(r.s);
  r.weights(own.begin * kBlockKeys, all_in(whole, own.begin * kBlockKeys, kBlockKeys), scale, f);
  r.round_weights();
  bool add = false;  // a chunk is begun
  for (int64_t next = own.begin + 1; next < own.end; next++) {
    const int stage = at.stage;
    const int64_t key = next * kBlockKeys;
    at.next();
    barrier_wait(m.full[at.stage], at.turn);
    r.multiply_keys(m.stages[at.stage]);
    r.multiply_values(m.stages[stage], add);
    products_wait<1>();
    products_done(r.s);
    const float last[2] = {r.reference[0], r.reference[1]};
    add = key % kKeyChunk != 0;
    if (!add) r.reference[0] = r.reference[1] = -INFINITY;
    r.weights(key, all_in(whole, key, kBlockKeys), scale, f);
    if (!add) products_wait<0>();  // a branch, across which ptxas does not pull the next wait: weights go before it
    products_wait<0>();
    products_done(r.o);
    release_block(m.empty[stage]);
    if (!add) r.end_chunk(last, m.y);
    r.rescale(f);
    r.round_weights();
  }
  r.multiply_values(m.stages[at.stage], add);
  products_wait<0>();
  products_done(r.o);
  release_block(m.empty[at.stage]);
  at.next();
  r.end_chunk(r.reference, m.y);
  pass_blocks(all.end - own.end, at, m);
  r.store(h.a, mine, count, m.y);
}

#endif  // VERDANT_HOPPER

// One block: up to 128 queries of one kv head, of sequences of more than `few` rows.
template <int kCols>
static __global__ void __launch_bounds__(kTileThreads, 1)
    attention_tile_kernel(const __grid_constant__ TileAttention h) {
  wait_for_predecessors();
#if defined(VERDANT_HOPPER)
  VERDANT_DYNAMIC_SHARED_1024(shared);
  TileShared<kCols>& m = *reinterpret_cast<TileShared<kCols>*>(shared);
  const AttentionArgs& a = h.a;
  const int64_t kv_head = blockIdx.x % a.kv_heads, number = gridDim.x / a.kv_heads - 1 - blockIdx.x / a.kv_heads;
  const RowTile tile = row_tile(a, h.size, number / h.parts);
  const int64_t first = number % h.parts * kTileQueries, queries = (tile.end - tile.begin) * a.group - first;
  if (queries <= 0 || a.starts[tile.seq + 1] - a.starts[tile.seq] <= h.few) return;
  const int count = queries < kTileQueries ? static_cast<int>(queries) : kTileQueries;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < count) m.queries[thread] = tile_query(a, tile, kv_head, first + thread);
  if (thread == 0) {
    for (int i = 0; i < kTileStages; i++) {
      barrier_init(m.full[i], 1);
      barrier_init(m.empty[i], kTileReaders / kWarp);
    }
    barrier_init(m.landed, 1);
    barriers_made();
  }
  constexpr int kWords = kOnesRows * kColumnBytes / 4;
  for (int i = thread; i < kTileStages * kBlockPages * kWords; i += kTileThreads)
    reinterpret_cast<uint32_t*>(m.stages[i / kWords / kBlockPages].values[i / kWords % kBlockPages] +
                                kCols * kColumnBytes)[i % kWords] = kOnes;
  if (thread >= 128)
    for (int i = 0; i < kCols / 2; i++) m.y[i][thread - 128] = 0.0f;
  stores_before_products();
  __syncthreads();
  const KeyRange seen = warp_seen_keys(m.queries, count);
  if (thread < 128) {
    fewer_registers<40>();
    return bring_blocks<kCols>(h, tile.seq, kv_head, seen, m);
  }
  more_registers<232>();
  if (thread >= 256 && count <= 64) {  // nothing to do for the second half
    const BlockRange all = block_range(seen);
    RingPlace<kTileStages> at;
    return pass_blocks(all.end - all.begin, at, m);
  }
  const int warp = warp_index() - 4, left = count - warp / 4 * 64, own = count - 16 * warp;
  const KeyRange group = warp_seen_keys(m.queries + warp / 4 * 64, left < 0 ? 0 : left < 64 ? left : 64);
  read_blocks<kCols>(h, seen, group, m.queries + 16 * warp, own < 0 ? 0 : own < 16 ? own : 16, m);
#endif
}

}  // namespace verdant::cuda
