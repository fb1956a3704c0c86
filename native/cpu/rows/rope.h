#include "ops/rope.h"

namespace verdant::VERDANT_ISA {

static int64_t rope_table_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t rope_table_cost(const OpCall& call) { return 50 * call.out[0].dim[0] * call.out[0].dim[1]; }

// Angular frequencies of rows whose sequences have one length: a row of inv_freq, or made from `base` (dynamic NTK).
struct RopeFrequencies {
  const float* row;
  double base;
  double scaling;
};

static inline RopeFrequencies rope_frequencies(const RopeTableAttrs& a, const Tensor& inv_freq, int64_t length) {
  const float* row = (const float*)inv_freq.data;
  const int64_t half = inv_freq.dim[1];
  if (a.rule == 0 || length <= a.original) return {row, 0, a.attention_scaling};
  if (a.rule == 1) {  // a table without the long variant gives NaN, not a wild read
    if (inv_freq.dim[0] < 2) return {nullptr, NAN, a.attention_scaling_long};
    return {row + half, 0, a.attention_scaling_long};
  }
  const double dim = 2.0 * (double)half, grown = a.factor * (double)length / (double)a.original - (a.factor - 1.0);
  return {nullptr, a.theta * pow(grown, dim / (dim - 2.0)), a.attention_scaling};
}

// Rows of one length run together, so that a frequency is computed once for them.
static void rope_table_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const RopeTableAttrs& a = *(const RopeTableAttrs*)call.attrs;
  const int64_t half = call.in[1].dim[1];
  const int32_t* positions = (const int32_t*)call.in[0].data;
  const int32_t* lengths = (const int32_t*)call.in[2].data;
  float* table = (float*)call.out[0].data;
  for (int64_t r = begin, next; r < end; r = next) {
    const int64_t length = lengths == nullptr ? 0 : lengths[r];
    next = r + 1;
    while (next < end && (lengths == nullptr || lengths[next] == length)) next++;
    const RopeFrequencies f = rope_frequencies(a, call.in[1], length);
    for (int64_t i = 0; i < half; i++) {
      const double exponent = (double)(2 * i) / (double)(2 * half);
      const double frequency = f.row != nullptr ? (double)f.row[i] : (double)(float)(1.0 / pow(f.base, exponent));
      for (int64_t row = r; row < next; row++) {
        const double angle = (double)positions[row] * frequency;
        table[row * 2 * half + i] = (float)(cos(angle) * f.scaling);
        table[row * 2 * half + half + i] = (float)(sin(angle) * f.scaling);
      }
    }
  }
}

static const Kernel rope_table_kernel = {1, rope_table_tasks, rope_table_run, nullptr, rope_table_cost, rope_table_run};

static int64_t rope_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t rope_cost(const OpCall& call) { return 4 * call.in[0].dim[0] * call.in[0].dim[1]; }

static inline void rope_halves(const float* x, float* y, const float* table, int64_t half) {
  each_vec(half, [=](int64_t c, int64_t lanes) {
    const Vec x1 = load_part(x + c, lanes), x2 = load_part(x + half + c, lanes);
    const Vec cosine = load_part(table + c, lanes), sine = load_part(table + half + c, lanes);
    store_part(y + c, sub(mul(x1, cosine), mul(x2, sine)), lanes);
    store_part(y + half + c, add(mul(x2, cosine), mul(x1, sine)), lanes);
  });
}

static inline void rope_pairs(const float* x, float* y, const float* table, int64_t half) {
  for (int64_t i = 0; i < half; i++) {
    const float x1 = x[2 * i], x2 = x[2 * i + 1], cosine = table[i], sine = table[half + i];
    y[2 * i] = x1 * cosine - x2 * sine;
    y[2 * i + 1] = x2 * cosine + x1 * sine;
  }
}

static void rope_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const RopeAttrs& a = *(const RopeAttrs*)call.attrs;
  const int64_t cols = call.in[0].dim[1], half = call.in[1].dim[1] / 2;
  const int64_t rest = a.head_dim - 2 * half;
  if (a.head_dim <= 0) return;
  for (int64_t r = begin; r < end; r++) {
    const float* table = (const float*)call.in[1].data + r * 2 * half;
    for (int64_t h = 0; h < cols; h += a.head_dim) {
      const float* x = (const float*)call.in[0].data + r * cols + h;
      float* y = (float*)call.out[0].data + r * cols + h;
      if (a.interleaved != 0) {
        rope_pairs(x, y, table, half);
      } else {
        rope_halves(x, y, table, half);
      }
      if (rest > 0 && x != y) memcpy(y + 2 * half, x + 2 * half, sizeof(float) * (size_t)rest);
    }
  }
}

static const Kernel rope_kernel = {1, rope_tasks, rope_run, nullptr, rope_cost, rope_run};

}  // namespace verdant::VERDANT_ISA
