// Row norms: alone, with the residual sum before them, with the rounding of a linear's x after them. All have the bits
// of the ops one after another.
#pragma once
#include "cuda/copies.cuh"
#include "cuda/rounding.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kNormThreads = 256;
constexpr int kNormColumns = 4 * kNormThreads;  // that a block takes at a time, four each thread

struct NormScratch {
  float sums[3][kNormThreads / kWarp];
};

// A thread's columns of a row: kItems times four, in registers; 0: as many as there are, read again each time.
template <int kItems>
struct OwnColumns {
  const float* row;
  int cols, items;
  bool aligned;
  Quad held[kItems > 0 ? kItems : 1];

  static __device__ __forceinline__ int column(int i) { return i * kNormColumns + 4 * static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ int count() const { return kItems > 0 ? kItems : items; }
  __device__ __forceinline__ Quad at(int i) const {
    return kItems > 0 ? held[i] : load_quad(row, column(i), cols, aligned);
  }
  // f(x) of each in turn.
  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
#pragma unroll
    for (int i = 0; i < count(); i++) {
      const Quad q = at(i);
#pragma unroll
      for (int k = 0; k < 4; k++)
        if (column(i) + k < cols) f(q.v[k]);
    }
  }
};

// What a norm reads and writes: rows a (+ b, to `sum`) normed to y; with `round`, also, or only, in the forms that a
// linear wants.
struct NormArgs {
  const float *a, *b;
  float *sum, *y;
  int32_t cols, items;
  bool aligned;
  RoundTarget round;
};

// A norm finds what a row needs (`find`, by all threads of a block) and gives a column from it, its weight and its
// bias.
template <int kItems, class Norm>
static __global__ void __launch_bounds__(kNormThreads) norm_kernel(Norm norm, const __grid_constant__ NormArgs a) {
  for (int c = kWarp * static_cast<int>(threadIdx.x); c < a.cols; c += kWarp * kNormThreads) {
    call_line(norm.weight + c);
    if (norm.bias != nullptr) call_line(norm.bias + c);
  }
  wait_for_predecessors();
  __shared__ NormScratch scratch;
  const int64_t row = blockIdx.x, at = row * a.cols;
  OwnColumns<kItems> x{a.a + at, a.cols, a.items, a.aligned, {}};
  float* const y = a.y + at;
#pragma unroll
  for (int i = 0; i < x.count(); i++) {
    const int c = x.column(i);
    Quad q = load_quad(x.row, c, a.cols, a.aligned);
    if (a.b != nullptr) {
      const Quad other = load_quad(a.b + at, c, a.cols, a.aligned);
#pragma unroll
      for (int k = 0; k < 4; k++) q.v[k] += other.v[k];
      store_quad(a.sum + at, c, a.cols, a.aligned, q);
    }
    if constexpr (kItems > 0) x.held[i] = q;
  }
  if (a.b != nullptr) x.row = a.sum + at;  // of which a thread reads what it wrote
  const auto found = norm.find(x, scratch);
#pragma unroll
  for (int i = 0; i < x.count(); i++) {
    const int c = x.column(i);
    const Quad q = x.at(i), weight = load_quad(norm.weight, c, a.cols, a.aligned);
    const Quad bias = norm.bias != nullptr ? load_quad(norm.bias, c, a.cols, a.aligned) : Quad{};
    Quad out = {};
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (c + k < a.cols) out.v[k] = norm.column(q.v[k], weight.v[k], bias.v[k], found);
    if (!a.round.alone) store_quad(y, c, a.cols, a.aligned, out);
    if (a.round.wanted()) round_quarter(out.v, row, c / 4, c / 4 < kQuartersOfGroup * a.round.groups, a.round);
  }
}

template <class Norm>
static void run_norm(const Norm& norm, const float* a, const float* b, float* sum, float* y, int64_t rows, int64_t cols,
                     const RoundTarget& round, const Gpu& gpu) {
  const int64_t padded = round.wanted() ? round.groups * 32 : cols, items = (padded + kNormColumns - 1) / kNormColumns;
  const NormArgs args = {a, b, sum, y, static_cast<int32_t>(cols), static_cast<int32_t>(items), cols % 4 == 0, round};
  const auto run = [&](auto kernel) { launch(kernel, static_cast<unsigned>(rows), kNormThreads, 0, gpu, norm, args); };
  if (items <= 1) return run(norm_kernel<1, Norm>);
  if (items <= 4) return run(norm_kernel<4, Norm>);
  if (items <= 8) return run(norm_kernel<8, Norm>);
  if (items <= 16) return run(norm_kernel<16, Norm>);
  run(norm_kernel<0, Norm>);
}

}  // namespace verdant::cuda
