// Rope of q and of the newest keys, and their write to the cache, as a part of attention that reads it there.
#pragma once
#include "cuda/attention_split.cuh"
#include "cuda/kv_cache.cuh"
#include "cuda/rope.cuh"

namespace verdant::cuda {

// Turns of q and k (half = 0: they pass), v, and where k and v go. Columns are taken by four.
struct TurnedWrite {
  RopeTurn q, k;
  const float* v;
  KvPlaces to;
};

// Columns d .. d + 3 of a head, turned.
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
  const int quads = a.head_dim / 4;
  const bool alone = tile.begin >= tile.end;
  const int64_t end = alone ? row + 1 : a.starts[tile.seq + 1];
  for (int64_t r = alone ? row : a.starts[tile.seq]; r < end; r++) {
    const KvSlot at = kv_slot(w.to.tables, r);
    const int64_t position = w.to.tables.positions[r];
    if (at.block < 0 || (!alone && position >= seen.end)) continue;
    const int64_t chunk = alone ? 0 : position / kKeyChunk - seen.begin / kKeyChunk;
    if (chunk < 0 || chunk % gridDim.y != blockIdx.y) continue;
    for (int i = static_cast<int>(threadIdx.x); i < 2 * quads; i += static_cast<int>(blockDim.x)) {
      const bool key = i < quads;
      const int d = 4 * (key ? i : i - quads);
      const float4 x = key ? turned_quad(w.k, r, kv_head, d)
                           : *reinterpret_cast<const float4*>(w.v + (r * w.to.kv_heads + kv_head) * a.head_dim + d);
      const float of[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int n = 0; n < 4; n++) key ? w.to.key(at, kv_head, d + n, of[n]) : w.to.value(at, kv_head, d + n, of[n]);
    }
  }
  __syncthreads();
}

}  // namespace verdant::cuda
