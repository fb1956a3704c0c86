// How blocks share out tiles of few queries and the chunks of their keys, and how results of chunks are merged.
#pragma once
#include "cuda/attention.cuh"
#include "cuda/rounding.cuh"

namespace verdant::cuda {

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
  unsigned* tickets;     // (gridDim.x): zeros, before and after; null: chunks are merged by attention_merge_kernel
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

constexpr int kMergeAhead = 8;  // chunks that a thread reads at a time

// kWide numbers, by as few loads as can be.
template <int kWide>
static __device__ __forceinline__ void load_wide(const float* from, float to[kWide]) {
  if constexpr (kWide == 4) {
    const float4 x = *reinterpret_cast<const float4*>(from);
    to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
  } else {
    for (int i = 0; i < kWide; i++) to[i] = from[i];
  }
}

// y of columns d .. d + kWide - 1 of a query: its chunks from left to right. By whole warps; lanes that are not
// `inside` do nothing but help to round. kLog2: m of the chunks is in units of log2. `round`: where y goes in the forms
// that a linear wants, too.
template <bool kLog2, int kWide>
static __device__ __forceinline__ void merge_columns(const AttentionArgs& a, const SplitArgs& split, int64_t seq,
                                                     const Query& q, int d, bool inside, const RoundTarget& round) {
  const int64_t first = q.first / kKeyChunk, last = q.first < q.end ? (q.end + kKeyChunk - 1) / kKeyChunk : first;
  SoftmaxState s = {};
  float y[kWide] = {};
  for (int64_t c = first; inside && c < last; c += kMergeAhead) {
    float m[kMergeAhead], l[kMergeAhead], o[kMergeAhead][kWide];  // together; a chunk without keys changes nothing
#pragma unroll
    for (int k = 0; k < kMergeAhead; k++) {
      const int64_t at = result_index(a, split, seq, c + k < last ? c + k : c, q);
      m[k] = split.states[2 * at];
      l[k] = c + k < last ? split.states[2 * at + 1] : 0.0f;
      load_wide<kWide>(split.sums + at * a.head_dim + d, o[k]);
    }
#pragma unroll
    for (int k = 0; k < kMergeAhead; k++) {
      const Factors f = merge_chunk<kLog2>(s, m[k], l[k]);
      for (int i = 0; i < kWide; i++) y[i] = merge_value(y[i], o[k][i], f);
    }
  }
  for (float& x : y) x = s.l == 0.0f ? 0.0f : x / s.l;
  const int64_t row = q.row * a.heads + q.head;
  if (inside && kWide == 4)
    *reinterpret_cast<float4*>(a.y + row * a.head_dim + d) = make_float4(y[0], y[1], y[2], y[3]);
  if (inside && kWide == 1) a.y[row * a.head_dim + d] = y[0];
  if constexpr (kWide == 4)
    if (round.wanted()) round_quarter(y, q.row, (q.head * int64_t{a.head_dim} + d) / 4, inside, round);
  if (!inside || d != 0 || a.stats == nullptr) return;
  a.stats[2 * row] = kLog2 ? s.m * kLn2 : s.m;
  a.stats[2 * row + 1] = s.l;
}

// The next of numbers 0 .. count - 1, over and over. What the block wrote before is seen by those that take later
// numbers; it sees what was written before earlier ones.
static __device__ __forceinline__ unsigned take_ticket(unsigned* ticket, unsigned count) {
#if defined(VERDANT_EMULATED)
  return atomicInc(ticket, count - 1);
#else
  unsigned taken;
  asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(taken) : "l"(ticket), "r"(count - 1) : "memory");
  return taken;
#endif
}

// Whether this block is the last of the gridDim.y with its blockIdx.x to come here: it sees what the others wrote.
static __device__ __forceinline__ bool last_of_splits(unsigned* tickets) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    last = gridDim.y == 1 || take_ticket(tickets + blockIdx.x, gridDim.y) == gridDim.y - 1;
  }
  __syncthreads();
  return last;
}

// The end of a kernel whose blocks took all chunks of their queries: the last of them merges. All threads come here.
template <bool kLog2, int kThreads>
static __device__ __forceinline__ void merge_last(const AttentionArgs& a, const SplitArgs& split, int64_t seq,
                                                  const Query* queries, int count, const RoundTarget& round) {
  if (split.tickets == nullptr || !last_of_splits(split.tickets)) return;
  const int quads = a.head_dim / 4, all = count * quads;
  for (int i = static_cast<int>(threadIdx.x); i - warp_lane() < all; i += kThreads)
    merge_columns<kLog2, 4>(a, split, seq, queries[i < all ? i / quads : 0], 4 * (i % quads), i < all, round);
}

constexpr int kMergeThreads = 128;

// Row `slot` of those that few kernels take.
static __device__ __forceinline__ RowTile merge_tile(const AttentionArgs& a, const SplitArgs& s, int64_t slot) {
  if (s.each) return single_row(a, slot);
  const int64_t seq = slot / s.rows, begin = a.starts[seq] + slot % s.rows, end = a.starts[seq + 1];
  return {seq, begin, end - a.starts[seq] > s.rows || begin >= end ? begin : begin + 1};
}

// A thread for kWide columns of a head of each of `rows` rows.
template <bool kLog2, int kWide>
static __global__ void attention_merge_kernel(AttentionArgs a, SplitArgs split, int64_t rows, RoundTarget round) {
  wait_for_predecessors();
  const int64_t wides = a.head_dim / kWide, i = int64_t{blockIdx.x} * kMergeThreads + threadIdx.x;
  const int64_t at = i < rows * a.heads * wides ? i : 0, head = at / wides % a.heads;
  const RowTile tile = merge_tile(a, split, at / wides / a.heads);
  const bool inside = at == i && tile.begin < tile.end;
  Query q = {};
  if (inside) q = tile_query(a, tile, head / a.group, head % a.group);
  merge_columns<kLog2, kWide>(a, split, tile.seq, q, static_cast<int>(at % wides) * kWide, inside, round);
}

}  // namespace verdant::cuda
