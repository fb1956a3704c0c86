// Ops that make one number from few, and where rows of a sequence lie.
#pragma once
#include "cuda/launch.cuh"

namespace verdant::cuda {

constexpr int kElementThreads = 256;

static inline int64_t count_of(const Tensor& x) {
  int64_t n = 1;
  for (int32_t i = 0; i < x.rank; i++) n *= x.dim[i];
  return n;
}

static inline const float* float_input(const OpCall& call, int i) { return static_cast<const float*>(call.in[i].data); }
static inline const int32_t* int_input(const OpCall& call, int i) {
  return static_cast<const int32_t*>(call.in[i].data);
}
static inline float* float_output(const OpCall& call, int i = 0) { return static_cast<float*>(call.out[i].data); }

// f(i) for every i below n; f is a small struct that holds the operands.
template <class F>
static __global__ void each_kernel(int64_t n, F f) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x;
  if (i < n) f(i);
}
template <class F>
static void each(int64_t n, const Gpu& gpu, F f) {
  launch(each_kernel<F>, blocks_of(n, kElementThreads), kElementThreads, 0, gpu, n, f);
}

struct Quad {
  float v[4];
};
// x[c] .. x[c + 3], zeros from `cols` on. `aligned`: each such place is a multiple of 16 bytes, cols of 4.
static __device__ __forceinline__ Quad load_quad(const float* x, int c, int cols, bool aligned) {
  Quad q = {{0.0f, 0.0f, 0.0f, 0.0f}};
  if (aligned) {
    if (c >= cols) return q;
    const float4 all = *reinterpret_cast<const float4*>(x + c);
    return {{all.x, all.y, all.z, all.w}};
  }
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (c + k < cols) q.v[k] = x[c + k];
  return q;
}
static __device__ __forceinline__ void store_quad(float* x, int c, int cols, bool aligned, const Quad& q) {
  if (aligned) {
    if (c < cols) *reinterpret_cast<float4*>(x + c) = make_float4(q.v[0], q.v[1], q.v[2], q.v[3]);
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (c + k < cols) x[c + k] = q.v[k];
}

// The last sequence that begins at or before `row`; bounds ascend, count of sequences >= 1.
static __device__ __forceinline__ int64_t sequence_of(const int32_t* bounds, int64_t count, int64_t row) {
  int64_t low = 0, high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (bounds[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

}  // namespace verdant::cuda
