#include "ops/moe.h"

#include "cuda/activation.cuh"
#include "cuda/launch.cuh"
#include "cuda/linear.h"

namespace verdant::cuda {

// A place is a row at one of its experts; the places of an expert lie one after another, rows ascending.
constexpr int kMoeThreads = 256;

// Where things lie in the workspace.
struct MoeLayout {
  int64_t rows, hidden, experts, top, ffn, places, tiles;
  int64_t probs;            // (rows, experts) f32
  int64_t chosen, weights;  // (rows, top): experts, ascending, i32; f32
  int64_t counts;           // (experts) i32: places of each
  int64_t place;            // (rows, top) i32
  int64_t row_of;           // (places) i32
  int64_t tile;             // (tiles) ExpertTile
  int64_t gate, up, down;   // (places, ffn) twice, (places, hidden) f32
  int64_t rounded;          // of `multiply`
  int64_t bytes;
};

static const DeviceMatrix* moe_matrix(const OpCall& call, int i) {
  return static_cast<const DeviceMatrix*>(call.in[i].data);
}

static MoeLayout moe_layout(const OpCall& call) {
  MoeLayout l{};
  l.rows = call.in[0].dim[0];
  l.hidden = call.in[0].dim[1];
  l.experts = call.in[1].dim[1];
  l.top = static_cast<const MoeAttrs*>(call.attrs)->top;
  l.ffn = moe_matrix(call, 4)->cols;
  l.places = l.rows * l.top;
  l.tiles = l.places / kExpertTileRows + (l.experts < l.places ? l.experts : l.places);
  const auto take = [&](int64_t bytes) {
    const int64_t at = l.bytes;
    l.bytes += (bytes + 255) / 256 * 256;
    return at;
  };
  l.probs = take(l.rows * l.experts * 4);
  l.chosen = take(l.places * 4);
  l.weights = take(l.places * 4);
  l.counts = take(l.experts * 4);
  l.place = take(l.places * 4);
  l.row_of = take(l.places * 4);
  l.tile = take(l.tiles * static_cast<int64_t>(sizeof(ExpertTile)));
  l.gate = take(l.places * l.ffn * 4);
  l.up = take(l.places * l.ffn * 4);
  l.down = take(l.places * l.hidden * 4);
  const DeviceMatrix *first[2] = {moe_matrix(call, 2), moe_matrix(call, 3)}, *second[1] = {moe_matrix(call, 4)};
  const int64_t a = multiply_workspace(call, l.rows, l.hidden, first, 2);
  const int64_t b = multiply_workspace(call, l.places, l.ffn, second, 1);
  l.rounded = take(a > b ? a : b);
  return l;
}

static int64_t moe_workspace(const OpCall& call) { return moe_layout(call).bytes; }

// One warp per row: p = softmax(router), then the `top` largest, the lower expert where they are equal.
static __global__ void route_kernel(const float* router, int64_t rows, int32_t experts, int32_t top, bool normalise,
                                    float* probs, int32_t* chosen, float* weights) {
  wait_for_predecessors();
  const int64_t row = int64_t{blockIdx.x} * (kMoeThreads / kWarp) + warp_index();
  if (row >= rows) return;
  const int lane = warp_lane();
  router += row * experts;
  probs += row * experts;
  chosen += row * top;
  weights += row * top;
  float most = -INFINITY;
  for (int32_t e = lane; e < experts; e += kWarp) most = fmaxf(most, router[e]);
  most = warp_max(most);
  double sum = 0;
  for (int32_t e = lane; e < experts; e += kWarp) sum += static_cast<double>(expf(router[e] - most));
  const float inverse = static_cast<float>(1.0 / warp_sum(sum));
  for (int32_t e = lane; e < experts; e += kWarp) probs[e] = expf(router[e] - most) * inverse;
  __syncwarp();  // lanes read each other's below
  float total = 0.0f;
  for (int32_t i = 0; i < top; i++) {
    float best = -1.0f;  // below every weight: taken ones are -2, NaN counts as 0 and only the row's own result is NaN
    int32_t expert = INT32_MAX;
    for (int32_t e = lane; e < experts; e += kWarp) {
      const float p = probs[e] == probs[e] ? probs[e] : 0.0f;
      if (p > best) best = p, expert = e;
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, best, lanes);
      const int32_t other_expert = __shfl_xor_sync(kAllLanes, expert, lanes);
      if (other > best || (other == best && other_expert < expert)) best = other, expert = other_expert;
    }
    const float weight = probs[expert];
    __syncwarp();
    total += weight;
    if (lane == 0) {
      int32_t at = i;  // ascending
      for (; at > 0 && chosen[at - 1] > expert; at--) chosen[at] = chosen[at - 1], weights[at] = weights[at - 1];
      chosen[at] = expert;
      weights[at] = weight;
      probs[expert] = -2.0f;
    }
    __syncwarp();
  }
  if (normalise)
    for (int32_t i = lane; i < top; i += kWarp) weights[i] /= total;
}

// How many of `count` experts of places are `expert`: one block per expert.
static __global__ void count_kernel(const int32_t* chosen, int64_t count, int32_t* counts) {
  wait_for_predecessors();
  __shared__ int32_t sums[kMoeThreads / kWarp];
  int32_t sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kMoeThreads) sum += chosen[i] == static_cast<int32_t>(blockIdx.x);
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
  if (warp_lane() == 0) sums[warp_index()] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kMoeThreads / kWarp; w++) sum += sums[w];
  counts[blockIdx.x] = sum;
}

// The places and tiles of an expert, one block each: places in order of rows.
static __global__ void place_kernel(const int32_t* chosen, int64_t count, int32_t top, const int32_t* counts,
                                    int32_t* place, int32_t* row_of, ExpertTile* tiles, int64_t tile_count) {
  wait_for_predecessors();
  __shared__ int32_t first_place, first_tile, tiles_in_all;
  __shared__ int32_t warps[kMoeThreads / kWarp];
  const int32_t expert = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x);
  if (thread == 0) {
    int32_t places = 0, before = 0, all = 0;
    for (int32_t e = 0; e < static_cast<int32_t>(gridDim.x); e++) {
      const int32_t own = (counts[e] + kExpertTileRows - 1) / kExpertTileRows;
      if (e < expert) places += counts[e], before += own;
      all += own;
    }
    first_place = places;
    first_tile = before;
    tiles_in_all = all;
  }
  __syncthreads();
  const int32_t own = counts[expert];
  for (int32_t t = thread; t * kExpertTileRows < own; t += kMoeThreads) {
    const int32_t left = own - t * kExpertTileRows;
    tiles[first_tile + t] = {expert, first_place + t * kExpertTileRows,
                             left < kExpertTileRows ? left : kExpertTileRows};
  }
  if (expert == 0)
    for (int64_t t = tiles_in_all + thread; t < tile_count; t += kMoeThreads) tiles[t] = {0, 0, 0};
  int32_t at = first_place;
  for (int64_t base = 0; base < count; base += kMoeThreads) {
    const int64_t i = base + thread;
    const bool mine = i < count && chosen[i] == expert;
    const unsigned lanes = __ballot_sync(kAllLanes, mine);
    if (warp_lane() == 0) warps[warp_index()] = __popc(lanes);
    __syncthreads();
    int32_t before = __popc(lanes & ((1u << warp_lane()) - 1)), all = 0;
    for (int w = 0; w < kMoeThreads / kWarp; w++) {
      if (w < warp_index()) before += warps[w];
      all += warps[w];
    }
    if (mine) {
      place[i] = at + before;
      row_of[at + before] = static_cast<int32_t>(i / top);
    }
    at += all;
    __syncthreads();
  }
}

static __global__ void expert_gate_kernel(float* gate, const float* up, int64_t count, int64_t fn) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kMoeThreads + threadIdx.x;
  if (i < count) gate[i] = activate(fn, gate[i]) * up[i];
}

// y[r] = sum over the experts of row r, ascending, of weight * down[place]
static __global__ void combine_kernel(const float* down, const int32_t* place, const float* weights, int32_t top,
                                      int64_t rows, int64_t hidden, float* y) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kMoeThreads + threadIdx.x;
  if (i >= rows * hidden) return;
  const int64_t row = i / hidden, column = i % hidden;
  float sum = 0.0f;
  for (int32_t e = 0; e < top; e++)
    sum = fmaf(weights[row * top + e], down[place[row * top + e] * hidden + column], sum);
  y[i] = sum;
}

static void moe_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const MoeAttrs*>(call.attrs);
  const MoeLayout l = moe_layout(call);
  if (l.rows == 0) return;
  const auto ints = [&](int64_t at) { return reinterpret_cast<int32_t*>(call.workspace + at); };
  const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(call.workspace + at); };
  const auto top = static_cast<int32_t>(l.top);
  auto* tiles = reinterpret_cast<ExpertTile*>(call.workspace + l.tile);
  launch(route_kernel, blocks_of(l.rows, kMoeThreads / kWarp), kMoeThreads, 0, gpu,
         static_cast<const float*>(call.in[1].data), l.rows, static_cast<int32_t>(l.experts), top, a.normalise != 0,
         floats(l.probs), ints(l.chosen), floats(l.weights));
  const auto experts = static_cast<unsigned>(l.experts);
  launch(count_kernel, experts, kMoeThreads, 0, gpu, ints(l.chosen), l.places, ints(l.counts));
  launch(place_kernel, experts, kMoeThreads, 0, gpu, ints(l.chosen), l.places, top, ints(l.counts), ints(l.place),
         ints(l.row_of), tiles, l.tiles);
  RowSource source{
      static_cast<const float*>(call.in[0].data), l.hidden, l.rows, ints(l.row_of), tiles, l.tiles, l.ffn, 0};
  const Product first[2] = {{moe_matrix(call, 2), nullptr, floats(l.gate), l.ffn},
                            {moe_matrix(call, 3), nullptr, floats(l.up), l.ffn}};
  multiply(call, gpu, source, first, 2, call.workspace + l.rounded);
  launch(expert_gate_kernel, blocks_of(l.places * l.ffn, kMoeThreads), kMoeThreads, 0, gpu, floats(l.gate),
         floats(l.up), l.places * l.ffn, a.fn);
  source = {floats(l.gate), l.ffn, l.places, nullptr, tiles, l.tiles, l.hidden, 0};
  const Product second = {moe_matrix(call, 4), nullptr, floats(l.down), l.hidden};
  multiply(call, gpu, source, &second, 1, call.workspace + l.rounded);
  launch(combine_kernel, blocks_of(l.rows * l.hidden, kMoeThreads), kMoeThreads, 0, gpu, floats(l.down), ints(l.place),
         floats(l.weights), top, l.rows, l.hidden, static_cast<float*>(call.out[0].data));
}

extern const CudaOp moe_op;
const CudaOp moe_op = {moe_run, moe_workspace, linear_compute};

}  // namespace verdant::cuda
