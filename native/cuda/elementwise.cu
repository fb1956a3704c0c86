#include "ops/elementwise.h"

#include "cuda/activation.cuh"
#include "cuda/launch.cuh"

namespace verdant::cuda {

constexpr int kElementThreads = 256;

static int64_t count_of(const Tensor& x) {
  int64_t n = 1;
  for (int32_t i = 0; i < x.rank; i++) n *= x.dim[i];
  return n;
}

// y[i] = f(i) for every i below n; f is a small struct that holds the operands.
template <class F>
static __global__ void each_kernel(float* y, int64_t n, F f) {
  const int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x;
  if (i < n) y[i] = f(i);
}

template <class F>
static void each(const OpCall& call, const Gpu& gpu, F f) {
  const int64_t n = count_of(call.out[0]);
  launch(each_kernel<F>, blocks_of(n, kElementThreads), kElementThreads, 0, gpu, static_cast<float*>(call.out[0].data),
         n, f);
}

static const float* input(const OpCall& call, int i) { return static_cast<const float*>(call.in[i].data); }

struct Activate {
  const float* x;
  int64_t fn;
  __device__ float operator()(int64_t i) const { return activate(fn, x[i]); }
};
struct Gate {
  const float *gate, *up;
  int64_t fn;
  __device__ float operator()(int64_t i) const { return activate(fn, gate[i]) * up[i]; }
};
// b: as a, or one row of `period` for all rows of a.
struct Add {
  const float *a, *b;
  int64_t period;
  __device__ float operator()(int64_t i) const { return a[i] + b[i % period]; }
};
struct Mul {
  const float *a, *b;
  int64_t period;
  __device__ float operator()(int64_t i) const { return a[i] * b[i % period]; }
};
struct Scale {
  const float* x;
  float factor, offset;
  __device__ float operator()(int64_t i) const { return fmaf(x[i], factor, offset); }
};
struct Softcap {
  const float* x;
  float cap;
  __device__ float operator()(int64_t i) const { return cap * tanhf(x[i] / cap); }
};

static void activation_run(const OpCall& call, const Gpu& gpu) {
  each(call, gpu, Activate{input(call, 0), static_cast<const ActivationAttrs*>(call.attrs)->fn});
}
static void gated_run(const OpCall& call, const Gpu& gpu) {
  each(call, gpu, Gate{input(call, 0), input(call, 1), static_cast<const ActivationAttrs*>(call.attrs)->fn});
}
static void add_run(const OpCall& call, const Gpu& gpu) {
  each(call, gpu, Add{input(call, 0), input(call, 1), count_of(call.in[1])});
}
static void mul_run(const OpCall& call, const Gpu& gpu) {
  each(call, gpu, Mul{input(call, 0), input(call, 1), count_of(call.in[1])});
}
static void scale_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const ScaleAttrs*>(call.attrs);
  each(call, gpu, Scale{input(call, 0), static_cast<float>(a.factor), static_cast<float>(a.offset)});
}
static void softcap_run(const OpCall& call, const Gpu& gpu) {
  each(call, gpu, Softcap{input(call, 0), static_cast<float>(static_cast<const SoftcapAttrs*>(call.attrs)->cap)});
}

extern const CudaOp activation_op, gated_op, add_op, mul_op, scale_op, softcap_op;
const CudaOp activation_op = {activation_run}, gated_op = {gated_run}, add_op = {add_run}, mul_op = {mul_run},
             scale_op = {scale_run}, softcap_op = {softcap_run};

}  // namespace verdant::cuda
