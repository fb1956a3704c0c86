// Linear of bf16 weights on Hopper: x (rows, columns) and w in natural order of columns pass through a ring of tiles in
// shared memory. A product of 16 columns is one exact sum cut once, of mma.sync as of wgmma, and slices are added in
// order, so that the bits are those of linear_mma.cuh.
#pragma once
#include "cuda/linear_args.cuh"
#include "cuda/wgmma.cuh"

namespace verdant::cuda {

constexpr int kTileCols = 64;  // columns of a stage
constexpr int kPair = 2;       // blocks of a cluster that share an operand, so that the L2 cache gives it once
constexpr int kGroupThreads = 128;

// What a launch multiplies: its tiles of x and of each segment of w.
struct HopperArgs {
  TensorMap x, w[kMaxSegments];
  SegmentList list;
  int64_t rows, groups;  // of x; of 32 columns
};

// kRows of x by kWeights of w, 64 columns.
template <int kRows, int kWeights>
struct HopperStage {
  uint8_t x[kRows * kTileBytes], w[kWeights * kTileBytes];
};

// `full`: a stage has come; `empty`: all who read it are done.
template <class Stage, int kStages>
struct HopperShared {
  Stage stages[kStages];
  Barrier full[kStages], empty[kStages];
};

#if defined(VERDANT_HOPPER)

// Tile `number` of a launch: its segment, and its first rows of x and of w. Blocks of 2048 rows of x stand next to
// each other before the next rows of w, so that what runs at a time reads few different tiles.
struct HopperTile {
  int segment;
  int64_t row, weight;
};
template <int kRows, int kWeights>
static __device__ __forceinline__ HopperTile hopper_tile(const SegmentList& list, int64_t rows, int64_t number) {
  constexpr int64_t kSide = 2048 / kRows;
  int segment = 0;
  while (segment + 1 < list.count && number >= list.block_end[segment]) segment++;
  if (segment > 0) number -= list.block_end[segment - 1];
  const int64_t x_blocks = (rows + kRows - 1) / kRows;
  const int64_t w_blocks = (list.segment[segment].rows + kWeights - 1) / kWeights;
  const int64_t side = number / (kSide * w_blocks), first = side * kSide, left = x_blocks - first;
  const int64_t wide = left < kSide ? left : kSide, rest = number - first * w_blocks;
  return {segment, (first + rest % wide) * kRows, rest / wide * kWeights};
}

// Announces the first stages of `groups` groups of columns from `begin` on, and brings their weights. One thread; gives
// how many stages.
template <int kRows, int kWeights, int kStages>
static __device__ __forceinline__ int bring_weights(const HopperArgs& a, const HopperTile& t, int64_t begin,
                                                    int64_t groups,
                                                    HopperShared<HopperStage<kRows, kWeights>, kStages>& m) {
  int i = 0;
  for (; i < kStages && 2 * i < groups; i++) {
    barrier_expect(m.full[i], (kRows + kWeights) * kTileBytes);
    load_tile(a.w[t.segment], m.full[i], m.stages[i].w, t.weight, (begin + 2 * i) * kGroup);
  }
  return i;
}

// Brings the stages of `groups` groups of columns from `begin` on, of which the weights of the first `early` are on
// their way. Each of the kBlocks blocks of a cluster, which multiply the same weights, brings its part of them to all.
// One thread.
template <int kRows, int kWeights, int kStages, int kBlocks>
static __device__ __forceinline__ void bring_slice(const HopperArgs& a, const HopperTile& t, int64_t begin,
                                                   int64_t groups, int early,
                                                   HopperShared<HopperStage<kRows, kWeights>, kStages>& m,
                                                   RingPlace<kStages>& at) {
  constexpr int kPart = kWeights / kBlocks;
  const int first = kBlocks > 1 ? cluster_rank() * kPart : 0;
  for (int64_t j = 0; j < groups; j += 2) {
    Barrier& full = m.full[at.stage];
    if (j >= 2 * early) {
      barrier_wait(m.empty[at.stage], at.turn ^ 1);
      barrier_expect(full, (kRows + kWeights) * kTileBytes);
      load_tile<kBlocks == 1 ? 0 : kBlocks>(a.w[t.segment], full, m.stages[at.stage].w + first * kTileBytes,
                                            t.weight + first, (begin + j) * kGroup);
    }
    load_tile(a.x, full, m.stages[at.stage].x, t.row, (begin + j) * kGroup);
    at.next();
  }
}

// A warp has read a stage, for which all kBlocks blocks of the cluster wait.
template <int kBlocks>
static __device__ __forceinline__ void give_back(Barrier& empty) {
  if constexpr (kBlocks == 1) {
    if (warp_lane() == 0) barrier_arrive(empty);
  } else {
    if (warp_lane() < kBlocks) barrier_arrive_at(empty, warp_lane());
  }
}

// sums (+)= x w^T over the first kSteps times 16 columns of a stage, once it has come.
template <int kRows, int kWeights, int kSteps>
static __device__ __forceinline__ void multiply_stage(float (&sums)[kWeights / 2], int first_row, bool add,
                                                      const HopperStage<kRows, kWeights>& stage, Barrier& full,
                                                      int turn) {
  barrier_wait(full, turn);
  const uint64_t x = tile_operand(stage.x + first_row * kTileBytes), w = tile_operand(stage.w);
  products_begin();
#pragma unroll
  for (int k = 0; k < kSteps; k++) multiply_tiles<kWeights>(sums, x + 2 * k, w + 2 * k, add || k > 0);
  products_close();
}

// sums (64 rows from first_row on, kWeights) = x w^T over those groups, of a warpgroup.
template <int kBlocks, int kRows, int kWeights, int kStages>
static __device__ __forceinline__ void multiply_slice(float (&sums)[kWeights / 2], int first_row, int64_t groups,
                                                      HopperShared<HopperStage<kRows, kWeights>, kStages>& m,
                                                      RingPlace<kStages>& at) {
  int before = -1;  // the stage that the open products of the step before read
  for (int64_t j = 0; j + 1 < groups; j += 2) {
    multiply_stage<kRows, kWeights, 4>(sums, first_row, j > 0, m.stages[at.stage], m.full[at.stage], at.turn);
    products_wait<1>();
    if (before >= 0) give_back<kBlocks>(m.empty[before]);
    before = at.stage;
    at.next();
  }
  products_wait<0>();
  products_done(sums);
  if (before >= 0) give_back<kBlocks>(m.empty[before]);
  if (groups % 2 == 0) return;
  multiply_stage<kRows, kWeights, 2>(sums, first_row, groups > 1, m.stages[at.stage], m.full[at.stage], at.turn);
  products_wait<0>();
  products_done(sums);
  give_back<kBlocks>(m.empty[at.stage]);
  at.next();
}

// y of 64 rows of x from `row` on, of a warpgroup, and kWeights rows of w from `weight` on; `rows`: of x in all.
template <int kWeights>
static __device__ __forceinline__ void store_sums(float (&total)[kWeights / 2], const SegmentArgs& w, int64_t row,
                                                  int64_t weight, int64_t rows) {
  const int first = static_cast<int>(weight) + sum_column(0), left = w.rows - first;
  if (w.bias != nullptr) {
#pragma unroll
    for (int i = 0; i < kWeights / 2; i++) {
      const int column = sum_column(i) - sum_column(0);
      if (column < left) total[i] += w.bias[first + column];
    }
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int64_t to = row + sum_row(2 * h);
    if (to >= rows) continue;
    float* const y = w.y + to * w.y_stride + first;
    if (weight + kWeights <= w.rows && reinterpret_cast<uintptr_t>(y) % sizeof(float2) == 0) {
#pragma unroll
      for (int c = 0; c < kWeights; c += 8)
        *reinterpret_cast<float2*>(y + c) = make_float2(total[c / 2 + 2 * h], total[c / 2 + 2 * h + 1]);
    } else {
#pragma unroll
      for (int c = 0; c < kWeights; c += 8)
        for (int i = 0; i < 2; i++)
          if (c + i < left) y[c + i] = total[c / 2 + 2 * h + i];
    }
  }
}

template <class Shared, int kStages>
static __device__ __forceinline__ void make_ring(Shared& m, int readers) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) {
      barrier_init(m.full[i], 1);
      barrier_init(m.empty[i], readers);
    }
    barriers_made();
  }
  __syncthreads();
}

// After the last stage: until all stages have been given back. A block must not end while another one of its cluster
// arrives at its barriers.
template <class Shared, int kStages>
static __device__ __forceinline__ void await_ring(Shared& m, RingPlace<kStages>& at) {
  for (int i = 0; i < kStages; i++, at.next()) barrier_wait(m.empty[at.stage], at.turn ^ 1);
}

#endif  // VERDANT_HOPPER

constexpr int kWideRows = 128, kWideWeights = 192, kWideStages = 4, kWideThreads = 3 * kGroupThreads;
using WideShared = HopperShared<HopperStage<kWideRows, kWideWeights>, kWideStages>;

// Many tiles: clusters stay, and take two tiles of 128 rows of x by the same 192 of w after the other. The first
// warpgroup of a block brings its tiles, the others multiply 64 rows each.
static __global__ void __launch_bounds__(kWideThreads, 1) linear_wide_kernel(const __grid_constant__ HopperArgs a) {
#if defined(VERDANT_HOPPER)
  VERDANT_DYNAMIC_SHARED_1024(shared);
  WideShared& m = *reinterpret_cast<WideShared*>(shared);
  const int64_t tiles = a.list.block_end[a.list.count - 1], cols = a.list.segment[0].cols,
                per = slice_units(cols, kGroup);
  const int64_t slices = (a.groups + per - 1) / per;
  const auto slice_size = [&](int64_t s) { return s + 1 < slices ? per : a.groups - s * per; };
  const auto own_tile = [&](int64_t number) {
    HopperTile t = hopper_tile<kPair * kWideRows, kWideWeights>(a.list, a.rows, number);
    t.row += cluster_rank() * kWideRows;
    return t;
  };
  RingPlace<kWideStages> at;
  make_ring<WideShared, kWideStages>(m, kPair * 2 * kGroupThreads / kWarp);
  cluster_sync();  // the other block's barriers are there
  wait_for_predecessors();
  if (threadIdx.x < kGroupThreads) {
    fewer_registers<40>();
    if (threadIdx.x != 0) return;
    for (int64_t tile = blockIdx.x / kPair; tile < tiles; tile += gridDim.x / kPair) {
      const HopperTile t = own_tile(tile);
      for (int64_t s = 0; s < slices; s++)
        bring_slice<kWideRows, kWideWeights, kWideStages, kPair>(a, t, s * per, slice_size(s), 0, m, at);
    }
    await_ring<WideShared, kWideStages>(m, at);
    return;
  }
  more_registers<232>();
  const int first_row = (static_cast<int>(threadIdx.x) / kGroupThreads - 1) * 64;
  for (int64_t tile = blockIdx.x / kPair; tile < tiles; tile += gridDim.x / kPair) {
    const HopperTile t = own_tile(tile);
    float sums[kWideWeights / 2] = {}, total[kWideWeights / 2];
    for (int64_t s = 0; s < slices; s++) {
      multiply_slice<kPair>(sums, first_row, slice_size(s), m, at);
#pragma unroll
      for (int i = 0; i < kWideWeights / 2; i++) total[i] = s == 0 ? sums[i] : total[i] + sums[i];
    }
    store_sums<kWideWeights>(total, a.list.segment[t.segment], t.row + first_row, t.weight, a.rows);
  }
#endif
}

constexpr int kSplitRows = 64, kSplitWeights = 128, kSplitStages = 4, kSplitThreads = kGroupThreads + kWarp;
constexpr int kSplitStride = kSplitWeights + 4;  // floats of a row of sums: no bank conflicts
using SplitShared = HopperShared<HopperStage<kSplitRows, kSplitWeights>, kSplitStages>;
static_assert(kSplitRows * kSplitStride * 4 <= static_cast<int>(sizeof(SplitShared::stages)));

// Few tiles: the eight blocks of a cluster take a slice of the columns each of a tile of 64 rows of x by 128 of w, and
// add them up from each other's shared memory. The last warp brings the tiles.
static __global__ void __launch_bounds__(kSplitThreads) linear_split_kernel(const __grid_constant__ HopperArgs a) {
#if defined(VERDANT_HOPPER)
  VERDANT_DYNAMIC_SHARED_1024(shared);
  SplitShared& m = *reinterpret_cast<SplitShared*>(shared);
  const HopperTile t = hopper_tile<kSplitRows, kSplitWeights>(a.list, a.rows, blockIdx.x / kSlices);
  const SegmentArgs& w = a.list.segment[t.segment];
  const int slice = cluster_rank();
  const int64_t per = slice_units(w.cols, kGroup), begin = slice * per, rest = a.groups - begin;
  const int64_t groups = rest < 0 ? 0 : rest < per ? rest : per;
  RingPlace<kSplitStages> at;
  make_ring<SplitShared, kSplitStages>(m, kGroupThreads / kWarp);
  const int early = threadIdx.x == kGroupThreads ? bring_weights(a, t, begin, groups, m) : 0;
  wait_for_predecessors();
  auto* own = reinterpret_cast<float*>(m.stages);
  if (threadIdx.x >= kGroupThreads) {
    if (threadIdx.x == kGroupThreads)
      bring_slice<kSplitRows, kSplitWeights, kSplitStages, 1>(a, t, begin, groups, early, m, at);
  } else {
    float sums[kSplitWeights / 2];
    multiply_slice<1>(sums, 0, groups, m, at);
    group_sync();  // all stages were read
#pragma unroll
    for (int i = 0; i < kSplitWeights / 2; i++) own[sum_row(i) * kSplitStride + sum_column(i)] = sums[i];
  }
  __syncwarp();
  cluster_sync();
  constexpr int kFours = kSplitWeights / 4, kOwnRows = kSplitRows / kSlices;
  for (int i = static_cast<int>(threadIdx.x); i < kOwnRows * kFours; i += kSplitThreads) {
    const int row = slice * kOwnRows + i / kFours, column = i % kFours * 4;
    const auto* p = reinterpret_cast<const float4*>(own + row * kSplitStride + column);
    float4 total = cluster_read(p, 0);
    for (int s = 1; s < kSlices && s * per < a.groups; s++) {
      const float4 v = cluster_read(p, s);
      total = make_float4(total.x + v.x, total.y + v.y, total.z + v.z, total.w + v.w);
    }
    const float out[4] = {total.x, total.y, total.z, total.w};
    if (t.row + row >= a.rows) continue;
#pragma unroll
    for (int c = 0; c < 4; c++) {
      const int64_t to = t.weight + column + c;
      if (to < w.rows) w.y[(t.row + row) * w.y_stride + to] = w.bias != nullptr ? out[c] + w.bias[to] : out[c];
    }
  }
  cluster_sync();  // nobody leaves while its sums are read
#endif
}

}  // namespace verdant::cuda
