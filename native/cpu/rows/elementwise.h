#include "ops/elementwise.h"

namespace verdant::VERDANT_ISA {

constexpr int64_t kFlatChunk = 4096;  // elements of a task of the ops that see flat data

static inline int64_t element_count(const Tensor& x) {
  int64_t n = 1;
  for (int32_t i = 0; i < x.rank; i++) n *= x.dim[i];
  return n;
}

static int64_t flat_tasks(const OpCall& call, int32_t) {
  return (element_count(call.in[0]) + kFlatChunk - 1) / kFlatChunk;
}

static int64_t flat_cost(const OpCall& call) { return element_count(call.in[0]); }

static int64_t flat_exp_cost(const OpCall& call) { return 24 * element_count(call.in[0]); }

// Tasks of kFlatChunk elements, and rows, of an op that `over` runs for elements from .. to - 1.
template <void (*over)(const OpCall& call, int64_t from, int64_t to)>
static void flat_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t total = element_count(call.in[0]), to = end * kFlatChunk;
  over(call, begin * kFlatChunk, to < total ? to : total);
}
template <void (*over)(const OpCall& call, int64_t from, int64_t to)>
static void flat_rows(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t rows = call.in[0].dim[0], cols = rows == 0 ? 0 : element_count(call.in[0]) / rows;
  over(call, begin * cols, end * cols);
}
template <void (*over)(const OpCall& call, int64_t from, int64_t to)>
static constexpr Kernel flat_kernel(int64_t (*cost)(const OpCall& call)) {
  return {1, flat_tasks, flat_run<over>, nullptr, cost, flat_rows<over>};
}

// y[i] = f(x[i])
template <class F>
static inline void map_each(const OpCall& call, int64_t from, int64_t to, F f) {
  const float* x = (const float*)call.in[0].data + from;
  float* y = (float*)call.out[0].data + from;
  each_vec(to - from, [=](int64_t c, int64_t lanes) { store_part(y + c, f(load_part(x + c, lanes)), lanes); });
}

// y[i] = f(a[i], b[i mod |b|]): equal sizes, or b is one row.
template <class F>
static inline void map_pairs(const OpCall& call, int64_t from, int64_t to, F f) {
  const int64_t period = element_count(call.in[1]);
  for (int64_t i = from; i < to && period > 0;) {
    const int64_t column = i % period, left = period - column, n = left < to - i ? left : to - i;
    const float* a = (const float*)call.in[0].data + i;
    const float* b = (const float*)call.in[1].data + column;
    float* y = (float*)call.out[0].data + i;
    each_vec(n, [=](int64_t c, int64_t lanes) {
      store_part(y + c, f(load_part(a + c, lanes), load_part(b + c, lanes)), lanes);
    });
    i += n;
  }
}

// x / 2 times 1 + erf(x / sqrt 2), which left of -1 is an erfc: no cancellation there.
static inline Vec gelu(Vec x) {
  const ErfParts e = erf_parts(mul(set1(0.70710678118654752f), x));
  const Vec outer = select(lt(x, zero()), e.erfc, sub(set1(2.0f), e.erfc));
  return mul(mul(set1(0.5f), x), select(e.inner, add(set1(1.0f), e.erf), outer));
}
// (1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
static inline Vec gelu_tanh(Vec x) {
  const Vec cubic = fma(mul(set1(0.044715f), mul(x, x)), x, x);
  return div(x, add(set1(1.0f), exp(mul(set1(-1.59576912160573f), cubic))));
}
static inline Vec silu(Vec x) { return div(x, add(set1(1.0f), exp(sub(zero(), x)))); }
static inline Vec quick_gelu(Vec x) { return div(x, add(set1(1.0f), exp(mul(set1(-1.702f), x)))); }
static inline Vec relu(Vec x) { return max(zero(), x); }  // this order keeps NaN

// Calls run(f) with the function that `fn` names.
template <class Run>
static inline void with_activation(int64_t fn, Run run) {
  switch (fn) {
    case kGelu:
      return run([](Vec x) { return gelu(x); });
    case kGeluTanh:
      return run([](Vec x) { return gelu_tanh(x); });
    case kSilu:
      return run([](Vec x) { return silu(x); });
    case kQuickGelu:
      return run([](Vec x) { return quick_gelu(x); });
    case kRelu:
      return run([](Vec x) { return relu(x); });
    case kTanh:
      return run([](Vec x) { return tanh(x); });
    case kSigmoid:
      return run([](Vec x) { return sigmoid(x); });
    case kExp:
      return run([](Vec x) { return exp(x); });
  }
}

static void activation_over(const OpCall& call, int64_t from, int64_t to) {
  with_activation(((const ActivationAttrs*)call.attrs)->fn, [&](auto f) { map_each(call, from, to, f); });
}

static void gated_over(const OpCall& call, int64_t from, int64_t to) {
  with_activation(((const ActivationAttrs*)call.attrs)->fn,
                  [&](auto f) { map_pairs(call, from, to, [=](Vec gate, Vec up) { return mul(f(gate), up); }); });
}

static void add_over(const OpCall& call, int64_t from, int64_t to) {
  map_pairs(call, from, to, [](Vec a, Vec b) { return add(a, b); });
}

static void mul_over(const OpCall& call, int64_t from, int64_t to) {
  map_pairs(call, from, to, [](Vec a, Vec b) { return mul(a, b); });
}

static void scale_over(const OpCall& call, int64_t from, int64_t to) {
  const ScaleAttrs& a = *(const ScaleAttrs*)call.attrs;
  const Vec factor = set1((float)a.factor), offset = set1((float)a.offset);
  map_each(call, from, to, [=](Vec x) { return fma(x, factor, offset); });
}

static void softcap_over(const OpCall& call, int64_t from, int64_t to) {
  const Vec cap = set1((float)((const SoftcapAttrs*)call.attrs)->cap);
  map_each(call, from, to, [=](Vec x) { return mul(cap, tanh(div(x, cap))); });
}

static const Kernel activation_kernel = flat_kernel<activation_over>(flat_exp_cost);
static const Kernel gated_kernel = flat_kernel<gated_over>(flat_exp_cost);
static const Kernel add_kernel = flat_kernel<add_over>(flat_cost);
static const Kernel mul_kernel = flat_kernel<mul_over>(flat_cost);
static const Kernel scale_kernel = flat_kernel<scale_over>(flat_cost);
static const Kernel softcap_kernel = flat_kernel<softcap_over>(flat_exp_cost);

}  // namespace verdant::VERDANT_ISA
