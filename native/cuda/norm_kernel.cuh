// Row norms: alone, with the residual sum before them, with the rounding of a linear's x after them. All have the bits
// of the ops one after another.
#pragma once
#include "cuda/rounding.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kNormThreads = 256;

// A norm finds what a row needs (`find`, by all threads of a block) and gives a column from it.
struct NormScratch {
  float sums[3][kNormThreads / kWarp];
};

// Rows a (+ b, to `sum`) normed to y; with `round`, also in the forms that a linear wants.
template <class Norm>
static __global__ void norm_kernel(Norm norm, const float* a, const float* b, float* sum, float* y, int64_t cols,
                                   RoundTarget round) {
  wait_for_predecessors();
  __shared__ NormScratch scratch;
  const int64_t row = blockIdx.x;
  const float* x = a + row * cols;
  y += row * cols;
  if (b != nullptr) {
    float* total = sum + row * cols;
    for (int64_t c = threadIdx.x; c < cols; c += kNormThreads) total[c] = x[c] + b[row * cols + c];
    __syncthreads();
    x = total;
  }
  const auto found = norm.find(x, cols, scratch);
  if (!round.wanted()) {
    for (int64_t c = threadIdx.x; c < cols; c += kNormThreads) y[c] = norm.column(x[c], c, found);
    return;
  }
  for (int64_t half = threadIdx.x; half < 2 * round.groups; half += kNormThreads) {
    float v[kHalfGroup];
#pragma unroll
    for (int k = 0; k < kHalfGroup; k++) {
      const int64_t c = half * kHalfGroup + k;
      v[k] = c < cols ? norm.column(x[c], c, found) : 0.0f;
      if (c < cols) y[c] = v[k];
    }
    round_half(v, row, half, round);
  }
}

template <class Norm>
static void run_norm(const Norm& norm, const float* a, const float* b, float* sum, float* y, int64_t rows, int64_t cols,
                     const RoundTarget& round, const Gpu& gpu) {
  launch(norm_kernel<Norm>, static_cast<unsigned>(rows), kNormThreads, 0, gpu, norm, a, b, sum, y, cols, round);
}

}  // namespace verdant::cuda
