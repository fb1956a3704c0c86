// Linear of block weights on Hopper: codes go from memory to registers, as one operand of wgmma, and tiles of rounded x
// through shared memory. Sums and their order are those of linear_mma.cuh, and so are the bits.
#pragma once
#include "cuda/linear_few.cuh"
#include "cuda/linear_hopper.cuh"

namespace verdant::cuda {

// Whether weights of a type go this way. Minima of groups would want sums of x for every group and column.
template <DType kType>
constexpr bool codes_kernel() {
  if constexpr (has_scales(kType)) return Fragments<kType>::kMinima != Minima::kOfGroups;
  return false;
}

// x: in order of the products of 16 columns (RoundTarget::stepped); parts: of its sums, of types with minima of units.
struct CodesArgs {
  TensorMap x, parts;
  SegmentList list;
  int64_t rows;
  int32_t groups;  // of 32 columns
};

constexpr int kCodesRows = 128, kCodesWeights = 128, kCodesStages = 6, kCodesThreads = 3 * kGroupThreads;
constexpr int kCodesSums = kCodesRows / 2;      // of a thread
constexpr int kCodesPart = kCodesRows / kPair;  // rows of x that a block of a cluster brings to both

// A stage: 128 rows of x by 64 columns, or by the parts of a unit. `total`: of the slices so far, by thread.
struct CodesShared {
  uint8_t stages[kCodesStages][kCodesRows * kTileBytes];
  float total[kCodesSums][2 * kGroupThreads];
  Barrier full[kCodesStages], empty[kCodesStages];
};

#if defined(VERDANT_HOPPER)

// Brings what all units of a row of weights meet, in order: this block's part of it, to both blocks. One thread.
template <DType kType>
static __device__ __forceinline__ void bring_units(const CodesArgs& a, int64_t row, int units, CodesShared& m,
                                                   RingPlace<kCodesStages>& at) {
  using F = Fragments<kType>;
  const int first = cluster_rank() * kCodesPart;
  const auto bring = [&](const TensorMap& map, int64_t column) {
    barrier_wait(m.empty[at.stage], at.turn ^ 1);
    barrier_expect(m.full[at.stage], kCodesRows * kTileBytes);
    load_tile<kPair>(map, m.full[at.stage], m.stages[at.stage] + first * kTileBytes, row + first, column);
    at.next();
  };
  for (int64_t u = 0; u < units; u++) {
    for (int j = 0; j < F::kGroups; j += 2) bring(a.x, (u * F::kGroups + j) * kGroup);
    if constexpr (F::kMinima == Minima::kOfUnit) bring(a.parts, u * kPartsOfUnit);
  }
}

// The stage that comes next, once it is there; and its return.
static __device__ __forceinline__ uint64_t open_stage(CodesShared& m, const RingPlace<kCodesStages>& at) {
  barrier_wait(m.full[at.stage], at.turn);
  return tile_operand(m.stages[at.stage]);
}
static __device__ __forceinline__ void close_stage(CodesShared& m, RingPlace<kCodesStages>& at) {
  give_back<kPair>(m.empty[at.stage]);
  at.next();
}

// The codes of group i of rows g and g + 8, as operands of its two products.
template <DType kType>
static __device__ __forceinline__ void group_operands(const FewUnit<kType>& unit, int i, uint32_t (&out)[2][4]) {
#pragma unroll
  for (int row = 0; row < 2; row++) {
    uint32_t w[4];
    Fragments<kType>::words(unit.codes[row], i, w);
    out[0][row] = w[0];
    out[0][2 + row] = w[1];
    out[1][row] = w[2];
    out[1][2 + row] = w[3];
  }
}

using CodesSums = float[kCodesSums];

static __device__ __forceinline__ void close_products(CodesSums& part) {
  products_wait<0>();
  products_done(part);
}

// acc += factor times part, of rows g and g + 8.
static __device__ __forceinline__ void add_scaled(CodesSums& acc, const CodesSums& part, float first, float second) {
#pragma unroll
  for (int i = 0; i < kCodesSums; i++) acc[i] = fmaf(i % 4 < 2 ? first : second, part[i], acc[i]);
}

// acc += group i of a unit, while the operands of group `next` are made. x: its first columns.
template <DType kType>
static __device__ __forceinline__ void codes_group(CodesSums& acc, CodesSums& part, const FewUnit<kType>& unit, int i,
                                                   const uint32_t (&w)[2][4], int next, uint32_t (&w_next)[2][4],
                                                   uint64_t x) {
  using F = Fragments<kType>;
  const auto make_next = [&] {
    if (next < F::kGroups) group_operands<kType>(unit, next, w_next);
  };
  const RowScales k = row_scales<kType>(unit.heads, i);
  products_begin();
  multiply_fragment<kCodesRows>(part, w[0], x, false);
  if constexpr (!F::kHalves) multiply_fragment<kCodesRows>(part, w[1], x + 2, true);
  products_close();
  make_next();
  close_products(part);
  add_scaled(acc, part, k.s[0][0], k.s[1][0]);
  if constexpr (F::kHalves) {
    products_begin();
    multiply_fragment<kCodesRows>(part, w[1], x + 2, false);
    products_close();
    close_products(part);
    add_scaled(acc, part, k.s[0][1], k.s[1][1]);
  }
}

// acc += what a unit adds by sums of x.
template <DType kType>
static __device__ __forceinline__ void codes_terms(CodesSums& acc, CodesSums& part, const FewUnit<kType>& unit,
                                                   uint64_t parts) {
  using F = Fragments<kType>;
  const int t = warp_lane() % 4;
  const float2 factors[2] = {F::factors(unit.heads[0]), F::factors(unit.heads[1])};
  const auto add = [&](uint2 whole, uint2 second_whole, float first, float second) {
    const uint32_t w[4] = {whole.x, second_whole.x, whole.y, second_whole.y};
    products_begin();
#pragma unroll
    for (int i = 0; i < 3; i++) multiply_fragment<kCodesRows>(part, w, parts + 2 * i, i > 0);
    products_close();
    close_products(part);
    add_scaled(acc, part, first, second);
  };
  add(F::minima(unit.heads[0], t), F::minima(unit.heads[1], t), factors[0].x, factors[1].x);
  add(F::scales(unit.heads[0], t), F::scales(unit.heads[1], t), factors[0].y, factors[1].y);
}

// acc += unit u.
template <DType kType>
static __device__ __forceinline__ void codes_unit(CodesSums& acc, CodesSums& part, const FewUnit<kType>& unit, int u,
                                                  int groups, CodesShared& m, RingPlace<kCodesStages>& at) {
  using F = Fragments<kType>;
  uint32_t w[2][2][4];
  group_operands<kType>(unit, 0, w[0]);
  uint64_t x = 0;
#pragma unroll
  for (int i = 0; i < F::kGroups; i++) {
    if (i % 2 == 0) x = open_stage(m, at);
    if (u * F::kGroups + i < groups)
      codes_group<kType>(acc, part, unit, i, w[i % 2], i + 1, w[(i + 1) % 2], x + 4 * (i % 2));
    if (i % 2 == 1) close_stage(m, at);
  }
  if constexpr (F::kMinima == Minima::kOfUnit) {
    codes_terms<kType>(acc, part, unit, open_stage(m, at));
    close_stage(m, at);
  }
}

// y of 64 rows of w, those of the warpgroup, and 128 rows of x: slices one after the other.
template <DType kType>
static __device__ __forceinline__ void codes_tile(const CodesArgs& a, const SegmentArgs& s, int64_t row, int64_t weight,
                                                  CodesShared& m, RingPlace<kCodesStages>& at) {
  const int first = static_cast<int>(weight) + warp_index() % 4 * 16,
            thread = static_cast<int>(threadIdx.x) - kGroupThreads;
  const FewWeights w = few_weights(s, first, s.rows - first);
  FewUnit<kType> next = few_unit<kType>(w, s.units, 0, warp_lane() % 4);
  CodesSums acc = {}, part;
  int left = s.slice;
  bool fresh = true;
  for (int u = 0; u < s.units; u++) {
    const FewUnit<kType> unit = next;
    if (u + 1 < s.units) next = few_unit<kType>(w, s.units, u + 1, warp_lane() % 4);
    codes_unit<kType>(acc, part, unit, u, a.groups, m, at);
    if (--left > 0 && u + 1 < s.units) continue;
    left = s.slice;
#pragma unroll
    for (int i = 0; i < kCodesSums; i++) {
      float& total = m.total[i][thread];
      total = fresh ? acc[i] : total + acc[i];
      acc[i] = 0.0f;
    }
    fresh = false;
  }
  const int64_t to = row + sum_column(0);
  const int rows = static_cast<int>(a.rows - to < kCodesRows ? a.rows - to : kCodesRows);
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int64_t column = weight + sum_row(2 * h);
    if (column >= s.rows) continue;
    const float bias = s.bias != nullptr ? s.bias[column] : 0.0f;
    float* y = s.y + to * s.y_stride + column;
    for (int n = 0; n < rows; n += 8, y += 8 * s.y_stride) {
      const float first = m.total[n / 2 + 2 * h][thread], second = m.total[n / 2 + 2 * h + 1][thread];
      y[0] = s.bias != nullptr ? first + bias : first;
      if (n + 1 < rows) y[s.y_stride] = s.bias != nullptr ? second + bias : second;
    }
  }
}

#endif  // VERDANT_HOPPER

// Clusters of two blocks stay, and take two tiles of 128 rows of w by the same 128 of x after the other. The first
// warpgroup of a block brings its part of x, the others multiply 64 rows of w each.
template <DType kType>
static __global__ void __launch_bounds__(kCodesThreads, 1) linear_codes_kernel(const __grid_constant__ CodesArgs a) {
#if defined(VERDANT_HOPPER)
  VERDANT_DYNAMIC_SHARED_1024(shared);
  CodesShared& m = *reinterpret_cast<CodesShared*>(shared);
  const int64_t tiles = a.list.block_end[a.list.count - 1];
  RingPlace<kCodesStages> at;
  make_ring<CodesShared, kCodesStages>(m, kPair * 2 * kGroupThreads / kWarp);
  cluster_sync();  // the other block's barriers are there
  wait_for_predecessors();
  if (threadIdx.x < kGroupThreads) {
    fewer_registers<24>();
    if (threadIdx.x != 0) return;
    for (int64_t tile = blockIdx.x / kPair; tile < tiles; tile += gridDim.x / kPair) {
      const HopperTile t = hopper_tile<kCodesRows, kPair * kCodesWeights>(a.list, a.rows, tile);
      bring_units<kType>(a, t.row, a.list.segment[t.segment].units, m, at);
    }
    await_ring<CodesShared, kCodesStages>(m, at);
    return;
  }
  more_registers<240>();
  const int64_t own = cluster_rank() * kCodesWeights + (static_cast<int>(threadIdx.x) / kGroupThreads - 1) * 64;
  for (int64_t tile = blockIdx.x / kPair; tile < tiles; tile += gridDim.x / kPair) {
    const HopperTile t = hopper_tile<kCodesRows, kPair * kCodesWeights>(a.list, a.rows, tile);
    codes_tile<kType>(a, a.list.segment[t.segment], t.row, t.weight + own, m, at);
  }
#endif
}

}  // namespace verdant::cuda
