#include "ops/rope.h"

#include "cuda/fuse.h"
#include "cuda/kv_cache.cuh"
#include "cuda/rope.cuh"

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

static void rope_run(const OpCall& call, const Gpu& gpu) {
  const RopeWork work = rope_work(call);
  each(work.count, gpu, work.turn);
}

// q, then k into y and the cache, then v into the cache.
struct RopeWrite {
  RopeWork q, k;
  const float* v;
  KvPlaces to;

  __device__ void operator()(int64_t i) const {
    if (i < q.count) return q.turn(i);
    if (i < q.count + k.count)
      return k.turn.turn(i - q.count, [this](int64_t row, int64_t head, int64_t d, float value) {
        k.turn.write(row, head, d, value);
        const KvSlot at = kv_slot(to.tables, row);
        if (at.block >= 0) to.key(at, head, d, value);
      });
    i -= q.count + k.count;
    const KvSlot at = kv_slot(to.tables, i / (to.kv_heads * to.head_dim));
    if (at.block >= 0) to.value(at, i / to.head_dim % to.kv_heads, i % to.head_dim, v[i]);
  }
};

void rope_and_write(const OpCall& q, const OpCall& k, const OpCall& write, const Gpu& gpu) {
  const RopeWrite work = {rope_work(q), rope_work(k), float_input(write, 1), kv_places(write)};
  each(work.q.count + work.k.count + write.in[0].dim[0] * work.to.kv_heads * work.to.head_dim, gpu, work);
}

extern const CudaOp rope_table_op, rope_op;
const CudaOp rope_table_op = {rope_table_run}, rope_op = {rope_run};

}  // namespace verdant::cuda
