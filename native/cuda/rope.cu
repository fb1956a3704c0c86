#include "ops/rope.h"

#include "cuda/rows.cuh"

namespace verdant::cuda {

// The cosine and sine of frequency i at the position of a row; angles in double.
struct RopeAngle {
  RopeTableAttrs a;
  const int32_t *positions, *lengths;
  const float* inv_freq;
  float* table;
  int64_t variants, half;

  __device__ void operator()(int64_t at) const {
    const int64_t row = at / half, i = at % half;
    const double length = lengths == nullptr ? 0.0 : static_cast<double>(lengths[row]);
    const bool beyond = a.rule != 0 && length > static_cast<double>(a.original);
    double frequency = static_cast<double>(inv_freq[i]), scaling = a.attention_scaling;
    if (beyond && a.rule == 1) {  // a table without the long variant gives NaN
      frequency = variants < 2 ? static_cast<double>(NAN) : static_cast<double>(inv_freq[half + i]);
      scaling = a.attention_scaling_long;
    } else if (beyond) {
      const double dim = 2.0 * static_cast<double>(half);
      const double grown = a.factor * length / static_cast<double>(a.original) - (a.factor - 1.0);
      const double base = a.theta * pow(grown, dim / (dim - 2.0));
      frequency = static_cast<double>(static_cast<float>(1.0 / pow(base, static_cast<double>(2 * i) / dim)));
    }
    const double angle = static_cast<double>(positions[row]) * frequency;
    table[row * 2 * half + i] = static_cast<float>(cos(angle) * scaling);
    table[row * 2 * half + half + i] = static_cast<float>(sin(angle) * scaling);
  }
};

static void rope_table_run(const OpCall& call, const Gpu& gpu) {
  const int64_t half = call.in[1].dim[1];
  each(call.in[0].dim[0] * half, gpu,
       RopeAngle{*static_cast<const RopeTableAttrs*>(call.attrs), int_input(call, 0), int_input(call, 2),
                 float_input(call, 1), float_output(call), call.in[1].dim[0], half});
}

// Pairs of a head turned by their angle.
struct RopeTurn {
  const float *x, *table;
  float* y;
  int64_t cols, half, head_dim;
  bool interleaved;

  // Pair p of a head: both numbers, so that y may be x.
  __device__ void operator()(int64_t at) const {
    const int64_t pairs = (head_dim + 1) / 2, heads = cols / head_dim;
    const int64_t row = at / (heads * pairs), head = at / pairs % heads, p = at % pairs;
    const float* from = x + row * cols + head * head_dim;
    float* to = y + row * cols + head * head_dim;
    if (p >= half) {  // the rest of a head passes
      for (int64_t i = 2 * p; i < 2 * p + 2 && i < head_dim; i++) to[i] = from[i];
      return;
    }
    const int64_t first = interleaved ? 2 * p : p, second = interleaved ? 2 * p + 1 : p + half;
    const float x1 = from[first], x2 = from[second];
    const float cosine = table[row * 2 * half + p], sine = table[row * 2 * half + half + p];
    to[first] = x1 * cosine - x2 * sine;
    to[second] = x2 * cosine + x1 * sine;
  }
};

static void rope_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const RopeAttrs*>(call.attrs);
  const int64_t rows = call.in[0].dim[0], cols = call.in[0].dim[1];
  if (a.head_dim <= 0) return;
  each(rows * (cols / a.head_dim) * ((a.head_dim + 1) / 2), gpu,
       RopeTurn{float_input(call, 0), float_input(call, 1), float_output(call), cols, call.in[1].dim[1] / 2, a.head_dim,
                a.interleaved != 0});
}

extern const CudaOp rope_table_op, rope_op;
const CudaOp rope_table_op = {rope_table_run}, rope_op = {rope_run};

}  // namespace verdant::cuda
