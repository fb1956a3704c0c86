// Rope of q and of the newest keys, and their write to the cache, as a part of attention that reads it there.
#pragma once
#include "cuda/attention_split.cuh"
#include "cuda/kv_cache.cuh"
#include "cuda/rope.cuh"

namespace verdant::cuda {

// Turns of q and k (half = 0: they pass), v, and where k and v go.
struct TurnedWrite {
  RopeTurn q, k;
  const float* v;
  KvPlaces to;
};

// Column d of a head, turned.
static __device__ __forceinline__ float turned_column(const RopeTurn& turn, int64_t row, int64_t head, int d) {
  const float* from = turn.x + row * turn.cols + head * turn.head_dim;
  const int half = static_cast<int>(turn.half);
  if (d >= 2 * half) return from[d];
  const bool second = turn.interleaved ? d % 2 != 0 : d >= half;
  const int pair = turn.interleaved ? d / 2 : second ? d - half : d, apart = turn.interleaved ? 1 : half;
  const float cosine = turn.table[row * 2 * half + pair], sine = turn.table[row * 2 * half + half + pair];
  return second ? from[d] * cosine + from[d - apart] * sine : from[d] * cosine - from[d + apart] * sine;
}

// Columns d .. d + 3 of a head, turned: where half and head_dim are multiples of four.
static __device__ __forceinline__ float4 turned_quad(const RopeTurn& turn, int64_t row, int64_t head, int d) {
  const float* from = turn.x + row * turn.cols + head * turn.head_dim;
  const float4 x = *reinterpret_cast<const float4*>(from + d);
  const int half = static_cast<int>(turn.half);
  if (d >= 2 * half) return x;
  const float *cosines = turn.table + row * 2 * half, *sines = cosines + half;
  if (turn.interleaved) {
    const float2 c = *reinterpret_cast<const float2*>(cosines + d / 2),
                 s = *reinterpret_cast<const float2*>(sines + d / 2);
    return make_float4(x.x * c.x - x.y * s.x, x.y * c.x + x.x * s.x, x.z * c.y - x.w * s.y, x.w * c.y + x.z * s.y);
  }
  const bool second = d >= half;
  const int p = second ? d - half : d;
  const float4 other = *reinterpret_cast<const float4*>(from + (second ? p : d + half));
  const float4 c = *reinterpret_cast<const float4*>(cosines + p), s = *reinterpret_cast<const float4*>(sines + p);
  if (second)
    return make_float4(x.x * c.x + other.x * s.x, x.y * c.y + other.y * s.y, x.z * c.z + other.z * s.z,
                       x.w * c.w + other.w * s.w);
  return make_float4(x.x * c.x - other.x * s.x, x.y * c.y - other.y * s.y, x.z * c.z - other.z * s.z,
                     x.w * c.w - other.w * s.w);
}

// Keys and values of a head enter the cache, as far as this block reads them there: those of row `row`, which `tile`
// has or no sequence, and of other rows that its sequence has in this step. Another block that needs them writes the
// same. No other sequence reads a block of the cache that this one writes. All threads come here.
static __device__ __forceinline__ void write_turned(const AttentionArgs& a, const TurnedWrite& w, const RowTile& tile,
                                                    int64_t row, int64_t kv_head, const KeyRange& seen) {
  const bool alone = tile.begin >= tile.end;
  const int64_t end = alone ? row + 1 : a.starts[tile.seq + 1];
  for (int64_t r = alone ? row : a.starts[tile.seq]; r < end; r++) {
    const KvSlot at = kv_slot(w.to.tables, r);
    const int64_t position = w.to.tables.positions[r];
    if (at.block < 0 || (!alone && position >= seen.end)) continue;
    const int64_t chunk = alone ? 0 : position / kKeyChunk - seen.begin / kKeyChunk;
    if (chunk < 0 || chunk % gridDim.y != blockIdx.y) continue;
    for (int i = static_cast<int>(threadIdx.x); i < 2 * a.head_dim; i += static_cast<int>(blockDim.x)) {
      const int d = i % a.head_dim;
      if (i < a.head_dim)
        w.to.key(at, kv_head, d, turned_column(w.k, r, kv_head, d));
      else
        w.to.value(at, kv_head, d, w.v[(r * w.to.kv_heads + kv_head) * a.head_dim + d]);
    }
  }
  __syncthreads();
}

}  // namespace verdant::cuda
