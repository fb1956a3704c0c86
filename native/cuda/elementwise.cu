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

// quad(at, ...): of columns c .. c + 3 of the row that begins at `at`, see load_quad.
struct Activate {
  const float* x;
  int64_t fn;
  __device__ float operator()(int64_t i) const { return activate(fn, x[i]); }
  __device__ Quad quad(int64_t at, int c, int cols, bool aligned) const {
    Quad q = load_quad(x + at, c, cols, aligned);
    for (float& v : q.v) v = activate(fn, v);
    return q;
  }
};
struct Gate {
  const float *gate, *up;
  int64_t fn;
  __device__ float operator()(int64_t i) const { return activate(fn, gate[i]) * up[i]; }
  __device__ Quad quad(int64_t at, int c, int cols, bool aligned) const {
    Quad q = load_quad(gate + at, c, cols, aligned);
    const Quad other = load_quad(up + at, c, cols, aligned);
    for (int k = 0; k < 4; k++) q.v[k] = activate(fn, q.v[k]) * other.v[k];
    return q;
  }
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
static __global__ void rounded_kernel(float* y, int64_t rows, int cols, bool aligned, F f, RoundTarget to) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x, quarters = to.groups * kQuartersOfGroup;
  const int64_t row = i / quarters, quarter = i % quarters, at = row * cols;
  const bool inside = row < rows;
  const int c = static_cast<int>(4 * quarter);
  Quad q = {};
  if (inside && c < cols) q = f.quad(at, c, cols, aligned);
  for (int k = 0; k < 4; k++)
    if (c + k >= cols) q.v[k] = 0.0f;
  if (inside && !to.alone) store_quad(y + at, c, cols, aligned, q);
  round_quarter(q.v, row, quarter, inside, to);
}

template <class F>
static void write_rounded(const OpCall& call, const RoundTarget& to, const Gpu& gpu, F f) {
  if (!to.wanted()) return write(call, gpu, f);
  const int64_t rows = call.out[0].dim[0], cols = call.out[0].dim[1];
  launch(rounded_kernel<F>, blocks_of(rows * to.groups * kQuartersOfGroup, kElementThreads), kElementThreads, 0, gpu,
         float_output(call), rows, static_cast<int>(cols), cols % 4 == 0, f, to);
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
