#include "ops/elementwise.h"

#include "cuda/activation.cuh"
#include "cuda/fuse.h"
#include "cuda/rounding.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

// y[i] = f(i)
template <class F>
struct Write {
  float* y;
  F f;
  __device__ void operator()(int64_t i) const { y[i] = f(i); }
};
template <class F>
static void write(const OpCall& call, const Gpu& gpu, F f) {
  each(count_of(call.out[0]), gpu, Write<F>{float_output(call), f});
}

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

// y = f, row by row, and rounded for the linear that reads it: four columns a thread.
template <class F>
static __global__ void rounded_kernel(float* y, int64_t rows, int64_t cols, F f, RoundTarget to) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x, quarters = to.groups * kQuartersOfGroup;
  const int64_t row = i / quarters, quarter = i % quarters;
  const bool inside = row < rows;
  float v[4];
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const int64_t c = 4 * quarter + k;
    v[k] = inside && c < cols ? f(row * cols + c) : 0.0f;
    if (inside && c < cols) y[row * cols + c] = v[k];
  }
  round_quarter(v, row, quarter, inside, to);
}

template <class F>
static void write_rounded(const OpCall& call, const RoundTarget& to, const Gpu& gpu, F f) {
  if (!to.wanted()) return write(call, gpu, f);
  const int64_t rows = call.out[0].dim[0];
  launch(rounded_kernel<F>, blocks_of(rows * to.groups * kQuartersOfGroup, kElementThreads), kElementThreads, 0, gpu,
         float_output(call), rows, call.out[0].dim[1], f, to);
}

void activation_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu) {
  write_rounded(call, round, gpu, Activate{float_input(call, 0), static_cast<const ActivationAttrs*>(call.attrs)->fn});
}
void gated_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu) {
  write_rounded(call, round, gpu,
                Gate{float_input(call, 0), float_input(call, 1), static_cast<const ActivationAttrs*>(call.attrs)->fn});
}

static void activation_run(const OpCall& call, const Gpu& gpu) { activation_rows(call, {}, gpu); }
static void gated_run(const OpCall& call, const Gpu& gpu) { gated_rows(call, {}, gpu); }
static void add_run(const OpCall& call, const Gpu& gpu) {
  write(call, gpu, Add{float_input(call, 0), float_input(call, 1), count_of(call.in[1])});
}
static void mul_run(const OpCall& call, const Gpu& gpu) {
  write(call, gpu, Mul{float_input(call, 0), float_input(call, 1), count_of(call.in[1])});
}
static void scale_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const ScaleAttrs*>(call.attrs);
  write(call, gpu, Scale{float_input(call, 0), static_cast<float>(a.factor), static_cast<float>(a.offset)});
}
static void softcap_run(const OpCall& call, const Gpu& gpu) {
  write(call, gpu,
        Softcap{float_input(call, 0), static_cast<float>(static_cast<const SoftcapAttrs*>(call.attrs)->cap)});
}

extern const CudaOp activation_op, gated_op, add_op, mul_op, scale_op, softcap_op;
const CudaOp activation_op = {activation_run}, gated_op = {gated_run}, add_op = {add_run}, mul_op = {mul_run},
             scale_op = {scale_run}, softcap_op = {softcap_run};

}  // namespace verdant::cuda
