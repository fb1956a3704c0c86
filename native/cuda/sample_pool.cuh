// Candidates of one draw and what selects among them. The order is: larger value first, lower id first on a tie.
#pragma once
#include "cuda/sample_select.cuh"

namespace verdant::cuda {

// Candidates far below the best, in units of the temperature, are gathered only when needed: 8, 16, 32, then all.
constexpr float kFirstReach = 8.0f;
constexpr float kLastReach = 32.0f;

// The same in all threads of the block. Thread t holds candidates t, t + 512, ...
struct SamplePool {
  const float* x;  // (vocab) processed logits
  int64_t vocab;
  float best;
  float temperature;
  float unit;    // a weight of 1 as a mass: a power of two
  float* value;  // (count) candidates: what orders them, -inf once dropped; id
  int32_t* id;
  int64_t count;
  uint64_t mass;   // of the candidates
  uint64_t whole;  // of all ids
  float reach;     // gathered are those with x >= best - reach * temperature
  bool complete;   // false: later candidates of the order are missing

  __device__ __forceinline__ float distance(float v) const { return (v - best) / temperature; }
  __device__ __forceinline__ float weight(float v) const { return sample_exp(distance(v)); }
  __device__ __forceinline__ uint64_t mass_of(float w) const { return __float2ull_rn(w * unit); }
  __device__ __forceinline__ uint64_t key(int64_t i) const {
    return sample_key(value[i], static_cast<uint32_t>(id[i]));
  }
  __device__ __forceinline__ uint64_t total() const { return complete ? mass : whole; }
  __device__ __forceinline__ double weight_of(uint64_t m) const {
    return static_cast<double>(m) / static_cast<double>(unit);
  }
};

static __device__ __forceinline__ SamplePool sample_pool(const float* x, int64_t vocab, float best, float temperature,
                                                         float* value, int32_t* id) {
  // The sum of all weights stays below 2^62.
  const int exponent = 62 - (64 - __clzll(static_cast<long long>(vocab)));
  return {x, vocab, best, temperature, __int_as_float((exponent + 127) << 23), value, id, 0, 0, 0, 0.0f, false};
}

struct PoolMass {
  uint64_t gathered, whole;
};

// Candidates begin .. end - 1 with x >= least; kPositive: of a weight above 0. keep(at, id, value) for each, in order
// of the threads; how many in s.offsets[kSampleThreads].
template <bool kPositive, class Keep>
static __device__ PoolMass pool_search(const SamplePool& p, SampleShared& s, float least, int64_t begin, int64_t end,
                                       const Keep& keep) {
  const auto wanted = [&p, least](float v) { return v >= least && (!kPositive || p.weight(v) > 0.0f); };
  int32_t own = 0;
  PoolMass m = {0, 0};
#pragma unroll 4
  for (int64_t c = begin + threadIdx.x; c < end; c += kSampleThreads) {
    const float v = p.x[c], w = p.weight(v);
    const uint64_t mass = p.mass_of(w);
    m.whole += mass;
    if (!wanted(v)) continue;
    own++;
    m.gathered += mass;
  }
  int64_t at = sample_offset(s, own);
  m = sample_reduce(s, m, [](const PoolMass& a, const PoolMass& b) -> PoolMass {
    return {a.gathered + b.gathered, a.whole + b.whole};
  });
#pragma unroll 4
  for (int64_t c = begin + threadIdx.x; c < end; c += kSampleThreads) {
    const float v = p.x[c];
    if (wanted(v)) keep(at++, static_cast<int32_t>(c), v);
  }
  return m;
}

// Gathers the candidates with x >= least; kPositive: of a weight above 0.
template <bool kPositive>
static __device__ void pool_gather(SamplePool& p, SampleShared& s, float least) {
  const PoolMass m = pool_search<kPositive>(p, s, least, 0, p.vocab, [&p](int64_t at, int32_t id, float v) {
    p.value[at] = v;
    p.id[at] = id;
  });
  p.count = s.offsets[kSampleThreads];
  p.mass = m.gathered;
  p.whole = m.whole;
  __syncthreads();
}

// What blocks of their own gathered of the parts of a row, as the first `pool_widen` would: how many candidates, whose
// ids stand at the part's place in a row of ids.
struct GatheredPart {
  PoolMass mass;
  int32_t count;
};
constexpr int64_t kMostParts = 64;

static __device__ __forceinline__ float pool_first_least(const SamplePool& p) {
  return p.best - kFirstReach * p.temperature;
}

// Takes them over.
static __device__ void pool_take(SamplePool& p, SampleShared& s, const GatheredPart* parts, int64_t count, int64_t part,
                                 const int32_t* ids) {
  p.reach = kFirstReach;
  p.count = 0;
  p.mass = p.whole = 0;
#pragma unroll 8
  for (int64_t i = 0; i < count; i++) {
    if (threadIdx.x == 0) s.offsets[i] = static_cast<int32_t>(p.count);
    p.count += parts[i].count;
    p.mass += parts[i].mass.gathered;
    p.whole += parts[i].mass.whole;
  }
  p.complete = p.count == p.vocab;
  __syncthreads();
  for (int64_t c = threadIdx.x; c < p.count; c += kSampleThreads) {
    int64_t i = 0;
    for (int64_t step = kMostParts / 2; step > 0; step /= 2)
      if (i + step < count && s.offsets[i + step] <= c) i += step;
    p.id[c] = ids[i * part + c - s.offsets[i]];
    p.value[c] = p.x[p.id[c]];
  }
  __syncthreads();
}

// All candidates of a positive weight. Like pool_widen, only before the first cut.
static __device__ void pool_complete(SamplePool& p, SampleShared& s) {
  if (p.complete) return;
  pool_gather<true>(p, s, -kLargest);
  p.complete = true;
}

static __device__ void pool_widen(SamplePool& p, SampleShared& s) {
  p.reach = p.reach == 0.0f ? kFirstReach : 2.0f * p.reach;
  const float least = p.best - p.reach * p.temperature;
  if (p.reach > kLastReach || least < -kLargest) return pool_complete(p, s);
  pool_gather<false>(p, s, least);
  p.complete = p.count == p.vocab;
}

// Gathers until no missing candidate can have a weight of `least` or more (a little below: the exponential rounds).
static __device__ void pool_widen_to(SamplePool& p, SampleShared& s, double least) {
  while (!p.complete && 0.999 * least < exp(-static_cast<double>(p.reach))) pool_widen(p, s);
}

// Drops the candidates that keep(value, id) does not name.
template <class Keep>
static __device__ void pool_keep(SamplePool& p, SampleShared& s, const Keep& keep) {
  uint64_t mass = 0;
  for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads) {
    const float v = p.value[i];
    if (v == -INFINITY) continue;
    if (keep(v, static_cast<uint32_t>(p.id[i]))) {
      mass += p.mass_of(p.weight(v));
    } else {
      p.value[i] = -INFINITY;
    }
  }
  p.mass = sample_sum(s, mass);
  p.complete = true;
}

// Where the mass of the order reaches `target` (kPast: passes it).
template <bool kPast>
static __device__ SampleCut pool_cut(const SamplePool& p, SampleShared& s, double target) {
  return sample_select<kPast>(
      s, p.count, sample_key(p.best, 0), sample_key(-kLargest, 0xffffffffu), target,
      [&p](int64_t i) { return p.key(i); }, [&p](int64_t i) { return p.mass_of(p.weight(p.value[i])); });
}

// Keeps the k largest; like Hugging Face, also all that equal the k-th.
static __device__ void sample_top_k(SamplePool& p, SampleShared& s, int64_t k) {
  if (k <= 0 || k >= p.vocab) return;
  while (k > p.count && !p.complete) pool_widen(p, s);
  p.complete = true;
  if (k >= p.count) return;
  const SampleCut cut = sample_select<false>(
      s, p.count, sample_value_key(p.best), sample_value_key(-kLargest), static_cast<double>(k),
      [&p](int64_t i) -> uint64_t { return sample_value_key(p.value[i]); }, [](int64_t) -> uint64_t { return 1; });
  pool_keep(p, s, [&cut](float v, uint32_t) { return sample_value_key(v) <= cut.high; });
}

// Keeps the shortest prefix whose share of the mass reaches top_p, at least one.
static __device__ void sample_top_p(SamplePool& p, SampleShared& s, double top_p) {
  if (top_p >= 1.0) return;
  const double target = top_p * static_cast<double>(p.total());
  while (!p.complete && target > static_cast<double>(p.mass)) pool_widen(p, s);
  const SampleCut cut = pool_cut<false>(p, s, target);
  pool_keep(p, s, [&cut](float v, uint32_t id) { return sample_key(v, id) <= cut.high; });
}

// Drops what is less likely than min_p times the most likely, whose weight is 1.
static __device__ void sample_min_p(SamplePool& p, SampleShared& s, double min_p) {
  if (min_p <= 0.0) return;
  pool_widen_to(p, s, min_p);
  pool_keep(p, s, [&p, min_p](float v, uint32_t) { return static_cast<double>(p.weight(v)) >= min_p; });
}

// Orders by |-log p - entropy|, smallest first; keeps the shortest prefix whose mass reaches typical_p, and ties.
static __device__ void sample_typical(SamplePool& p, SampleShared& s, double typical_p) {
  if (typical_p >= 1.0) return;
  pool_complete(p, s);
  double mean = 0;  // entropy = log total - sum p d with d = (x - best) / temperature
  for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads) {
    const float v = p.value[i];
    if (v > -INFINITY) mean += static_cast<double>(p.weight(v)) * static_cast<double>(p.distance(v));
  }
  mean = sample_sum(s, mean) / p.weight_of(p.mass);
  const auto key = [&p, mean](float v) {
    return sample_value_key(-static_cast<float>(fabs(mean - static_cast<double>(p.distance(v)))));
  };
  const SampleCut cut = sample_select<false>(
      s, p.count, sample_value_key(0.0f), sample_value_key(-kLargest), typical_p * static_cast<double>(p.mass),
      [&](int64_t i) -> uint64_t { return p.value[i] > -INFINITY ? key(p.value[i]) : 0xffffffffu; },
      [&p](int64_t i) { return p.mass_of(p.weight(p.value[i])); });
  pool_keep(p, s, [&](float v, uint32_t) { return key(v) <= cut.high; });
}

// Of the candidates with a share of at least `threshold`, drops all but the last in order.
static __device__ void sample_xtc(SamplePool& p, SampleShared& s, double threshold) {
  pool_complete(p, s);
  const double least = threshold * p.weight_of(p.mass);
  uint64_t last = 0;
  for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads) {
    const float v = p.value[i];
    if (v > -INFINITY && static_cast<double>(p.weight(v)) >= least) last = max(last, p.key(i));
  }
  last = sample_reduce(s, last, [](uint64_t a, uint64_t b) { return max(a, b); });
  pool_keep(p, s, [last](float v, uint32_t id) { return sample_key(v, id) >= last; });
}

// Mirostat 2: drops candidates whose surprise -log2 p is above mu, at least one stays.
static __device__ void sample_mirostat(SamplePool& p, SampleShared& s, double mu) {
  const double least = exp2(-mu) * p.weight_of(p.total());
  pool_widen_to(p, s, least);
  uint64_t first = ~uint64_t{0};
  for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads)
    if (p.value[i] > -INFINITY) first = min(first, p.key(i));
  first = sample_reduce(s, first, [](uint64_t a, uint64_t b) { return min(a, b); });
  pool_keep(p, s, [&p, least, first](float v, uint32_t id) {
    return sample_key(v, id) == first || (least < 1.0 && static_cast<double>(p.weight(v)) >= least);
  });
}

// Id of the drawn candidate: the first in order whose cumulative mass passes uniform * total.
static __device__ int32_t sample_draw(SamplePool& p, SampleShared& s, double uniform, double total) {
  const double target = uniform * total;
  while (!p.complete && target >= static_cast<double>(p.mass)) pool_widen(p, s);
  if (threadIdx.x == 0) s.id = -1;
  const SampleCut cut = pool_cut<true>(p, s, target);
  for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads)
    if (p.key(i) >= cut.low && p.key(i) <= cut.high) s.id = p.id[i];
  __syncthreads();
  return s.id;
}

}  // namespace verdant::cuda
