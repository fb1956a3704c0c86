// Attention of many queries on tensor cores where heads have more than 128 columns: as attention_tensor_many.cuh, but
// one block of keys at a time, whose values come while scores are made, and the next block's keys while values are
// multiplied; queries lie in shared memory, and what chunks have given so far in y.
#pragma once
#include "cuda/attention_tensor_many.cuh"

namespace verdant::cuda {

template <int kCols>
struct WideShared {
  TensorStage<kCols> stage;
  uint4 q[kTensorWarps][kCols / 16][kWarp];  // fragments by step
  Query queries[kTensorQueries];
};

// change(y, h, i): columns 16 i + 4 t .. 4 t + 3 of y of query g + 8 h, of those that the warp has.
template <int kCols, class Change>
static __device__ __forceinline__ void change_rows(const AttentionArgs& a, const Query* queries, int count,
                                                   const Change& change) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int n = warp_lane() / 4 + 8 * h;
    if (n >= count) continue;
    float* y = a.y + (queries[n].row * a.heads + queries[n].head) * a.head_dim + warp_lane() % 4 * 4;
#pragma unroll
    for (int i = 0; i < kCols / 16; i++)
      if (16 * i + warp_lane() % 4 * 4 < a.head_dim) change(*reinterpret_cast<float4*>(y + 16 * i), h, i);
  }
}

// One block: up to 64 queries of one kv head.
template <int kCols>
static __global__ void __launch_bounds__(kTensorThreads, 2)
    tensor_wide_kernel(const __grid_constant__ AttentionArgs a, int64_t size, int64_t parts, int64_t few) {
  wait_for_predecessors();
  VERDANT_DYNAMIC_SHARED(shared);
  WideShared<kCols>& m = *reinterpret_cast<WideShared<kCols>*>(shared);
  TensorTile t;
  if (!begin_tile(a, size, parts, few, m.queries, t)) return;
  if (a.head_dim < kCols) clear_stages(&m.stage, 1);
  __syncthreads();
  const TensorQueries mine(a, m.queries, t);
  for (int step = 0; step < kCols / 16; step++) {
    uint32_t q[4];
    query_fragment(a, mine.queries, mine.count, step, q);
    m.q[warp_index()][step][warp_lane()] = make_uint4(q[0], q[1], q[2], q[3]);
  }
  __syncwarp();
  const auto fragment = [&m](int step, uint32_t x[4]) {
    const uint4 q = m.q[warp_index()][step][warp_lane()];
    x[0] = q.x, x[1] = q.y, x[2] = q.z, x[3] = q.w;
  };
  TensorWarp<kCols> w = {};
  w.begin_chunk();
  const int64_t begin = t.seen.begin / kBlockKeys, end = (t.seen.end + kBlockKeys - 1) / kBlockKeys;
  if (begin < end) call_part<true>(a, t, begin, m.stage);
  copies_close();
  if (begin < end) call_part<false>(a, t, begin, m.stage);
  copies_close();
  for (int64_t block = begin; block < end; block++) {
    const int64_t first_key = block * kBlockKeys;
    const bool some = some_in(mine.any, first_key, kBlockKeys);
    float s[kBlockPages][4][4] = {};
    copies_wait<1>();  // keys have come
    __syncthreads();
    if (some) w.scores(m.stage, fragment, s);
    __syncthreads();
    if (block + 1 < end) call_part<true>(a, t, block + 1, m.stage);
    copies_close();
    if (some) {
      mine.see(a, t.seq, first_key, s);
      w.weights(s, mine.scale);
    }
    copies_wait<1>();  // values have come
    __syncthreads();
    if (!all_in(t.seen, first_key, kBlockKeys)) {
      clear_unseen(t.seen, block, m.stage);
      __syncthreads();
    }
    if (some) w.multiply_values(m.stage, s);
    __syncthreads();
    if (block + 1 < end) call_part<false>(a, t, block + 1, m.stage);
    copies_close();
    if ((block + 1) % (kKeyChunk / kBlockKeys) != 0 && block + 1 < end) continue;
    const Factors f[2] = {w.take_chunk(0), w.take_chunk(1)};
    change_rows<kCols>(a, mine.queries, mine.count, [&](float4& y, int h, int i) {
      const float4 o = columns_of(w.o[i], h);
      const float4 x = y;
      y = make_float4(merge_value(x.x, o.x, f[h]), merge_value(x.y, o.y, f[h]), merge_value(x.z, o.z, f[h]),
                      merge_value(x.w, o.w, f[h]));
    });
    w.begin_chunk();
  }
  change_rows<kCols>(a, mine.queries, mine.count, [&](float4& y, int h, int) {
    const float l = w.state[h].l;
    const float4 x = y;
    y = l == 0.0f ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : make_float4(x.x / l, x.y / l, x.z / l, x.w / l);
  });
  w.store_stats(a, mine.queries, mine.count);
}

}  // namespace verdant::cuda
