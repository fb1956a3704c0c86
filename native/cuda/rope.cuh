// Turning pairs of a head by their angle, for rope alone and before a cache write.
#pragma once
#include "cuda/rows.cuh"
#include "ops/rope.h"

namespace verdant::cuda {

struct RopeTurn {
  const float *x, *table;
  float* y;
  int64_t cols, half, head_dim;
  bool interleaved;

  __host__ __device__ int64_t pairs() const { return (head_dim + 1) / 2; }
  // Pair `at` of all heads of all rows: put(row, head, column, value) for both numbers of y.
  template <class Put>
  __device__ __forceinline__ void turn(int64_t at, const Put& put) const {
    const int64_t heads = cols / head_dim, row = at / (heads * pairs()), head = at / pairs() % heads, p = at % pairs();
    const float* from = x + row * cols + head * head_dim;
    if (p >= half) {  // the rest of a head passes
      for (int64_t i = 2 * p; i < 2 * p + 2 && i < head_dim; i++) put(row, head, i, from[i]);
      return;
    }
    const int64_t first = interleaved ? 2 * p : p, second = interleaved ? 2 * p + 1 : p + half;
    const float x1 = from[first], x2 = from[second];
    const float cosine = table[row * 2 * half + p], sine = table[row * 2 * half + half + p];
    put(row, head, first, x1 * cosine - x2 * sine);
    put(row, head, second, x2 * cosine + x1 * sine);
  }
  __device__ __forceinline__ void write(int64_t row, int64_t head, int64_t i, float value) const {
    y[row * cols + head * head_dim + i] = value;
  }
  __device__ void operator()(int64_t at) const {
    turn(at, [this](int64_t row, int64_t head, int64_t i, float value) { write(row, head, i, value); });
  }
};

// Of a call of rope; count: its pairs.
struct RopeWork {
  RopeTurn turn;
  int64_t count;
};
static inline RopeWork rope_work(const OpCall& call) {
  const auto& a = *static_cast<const RopeAttrs*>(call.attrs);
  const int64_t rows = call.in[0].dim[0], cols = call.in[0].dim[1];
  const RopeTurn turn = {float_input(call, 0),  float_input(call, 1), float_output(call), cols,
                         call.in[1].dim[1] / 2, a.head_dim,           a.interleaved != 0};
  return {turn, a.head_dim > 0 ? rows * (cols / a.head_dim) * turn.pairs() : 0};
}

}  // namespace verdant::cuda
