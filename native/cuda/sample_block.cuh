// What the parts of `sample` share: a call's tensors, one block's shared memory, reductions, keys and exp.
#pragma once
#include "cuda/launch.cuh"
#include "ops/sample.h"

namespace verdant::cuda {

constexpr int kSampleThreads = 512;
constexpr int kSampleBins = 256;
constexpr int kSampleUnroll = 8;
constexpr float kLargest = 3.402823466e38f;  // any finite logit is at least minus this

// Offsets (samples + 1) into a list.
struct SampleCsr {
  const int32_t* offsets;
  const int32_t* values;
};

// Tensors of a call in device memory, and sizes.
struct SampleArgs {
  int64_t samples, vocab, top;
  int64_t rows;         // of kv_positions and seq_ids
  int64_t seqs, pages;  // of table
  int64_t blocks;       // of tokens
  int64_t words;        // of a row of `allowed`
  const float* logits;
  const float* numbers;
  const int32_t* integers;
  const int32_t *row, *kv_positions, *seq_ids, *tokens, *table;
  SampleCsr bias, bad, stop, breaker;
  const float* bias_values;
  const int32_t* bad_ids;
  const int32_t* allowed;  // null: all
  int32_t* ids;
  float* logprobs;
  int32_t* top_ids;
  float* top_logprobs;
  float* mu;
  float* scratch;  // (blocks of the grid, 3, stride)
  int64_t stride;  // vocab, padded
  // Large vocabularies are looked at in parts of so many ids before a block takes the whole row; 0 parts: they are not.
  int64_t parts, part;
  struct SamplePart* scans;      // (samples, parts)
  struct GatheredPart* gathers;  // (samples, parts)
};

// Of some ids of a row: the largest logit with its lowest id, whether one is NaN or an infinity above, and the sum of
// exp(x - best).
struct SamplePart {
  float best;
  int32_t id, bad;
  double sum;
};

// Of one block, which works on one sample after the other.
struct SampleShared {
  alignas(16) uint8_t scratch[16 * kSampleThreads];
  alignas(16) uint8_t result[16];
  uint32_t low[kSampleBins], high[kSampleBins], count[kSampleBins];  // mass of a bin in two halves; its candidates
  int32_t offsets[kSampleThreads + 1];
  uint64_t before;
  int32_t bin, alone, slots, id;
};

// combine over the block, in one tree whatever the values; all threads get the result.
template <class T, class Combine>
static __device__ T sample_reduce(SampleShared& s, T own, const Combine& combine) {
  static_assert(sizeof(T) <= 16);
  T* const scratch = reinterpret_cast<T*>(s.scratch);
  const int t = static_cast<int>(threadIdx.x);
  scratch[t] = own;
  __syncthreads();
  if (t < kWarp) {
    for (int i = t + kWarp; i < kSampleThreads; i += kWarp) own = combine(own, scratch[i]);
    for (int half = kWarp / 2; half > 0; half /= 2) {
      scratch[t] = own;
      __syncwarp();
      if (t < half) own = combine(own, scratch[t + half]);
      __syncwarp();
    }
    if (t == 0) *reinterpret_cast<T*>(s.result) = own;
  }
  __syncthreads();
  return *reinterpret_cast<const T*>(s.result);
}

template <class T>
static __device__ T sample_sum(SampleShared& s, T own) {
  return sample_reduce(s, own, [](T a, T b) { return a + b; });
}

// Sum of `own` of the threads before this one; that of all threads in offsets[kSampleThreads].
static __device__ __forceinline__ int32_t sample_offset(SampleShared& s, int32_t own) {
  constexpr int kEach = kSampleThreads / kWarp;
  const int t = static_cast<int>(threadIdx.x);
  s.offsets[t] = own;
  __syncthreads();
  if (t < kWarp) {
    int32_t sum = 0;
    for (int i = 0; i < kEach; i++) sum += s.offsets[t * kEach + i];
    int32_t at = sum;
    for (int lanes = 1; lanes < kWarp; lanes *= 2) {
      const int32_t other = __shfl_up_sync(kAllLanes, at, lanes);
      at += t >= lanes ? other : 0;
    }
    if (t == kWarp - 1) s.offsets[kSampleThreads] = at;
    at -= sum;
    for (int i = t * kEach; i < (t + 1) * kEach; i++) {
      const int32_t count = s.offsets[i];
      s.offsets[i] = at;
      at += count;
    }
  }
  __syncthreads();
  return s.offsets[t];
}

// e^x for x <= 0, bit for bit the CPU's: x = n ln 2 + r, e^x = 2^n (1 + r + r^2 q(r)); 0 below -87.3365.
static __device__ __forceinline__ float sample_exp(float x) {
  constexpr float kLow = -87.33654022f;
  const float a = fmaxf(x, kLow), n = rintf(a * 1.44269504089f);
  const float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0.693145751953125f, a));
  float q = fmaf(1.393373008e-3f, r, 8.366716094e-3f);
  q = fmaf(q, r, 4.166647792e-2f);
  q = fmaf(q, r, 1.666654199e-1f);
  q = fmaf(q, r, 0.5f);
  const float y = (1.0f + fmaf(r * r, q, r)) * __int_as_float((static_cast<int>(n) + 127) << 23);
  return x < kLow ? 0.0f : y;
}

// Ascending keys are descending values; 0 and -0 are one value.
static __device__ __forceinline__ uint32_t sample_value_key(float value) {
  const uint32_t bits = __float_as_uint(value + 0.0f);
  return bits >> 31 != 0 ? bits : ~bits & 0x7fffffffu;
}
static __device__ __forceinline__ float sample_key_value(uint32_t key) {
  return __uint_as_float(key >> 31 != 0 ? key : ~key & 0x7fffffffu);
}
// Ascending keys are the order: larger value first, lower id first on a tie.
static __device__ __forceinline__ uint64_t sample_key(float value, uint32_t id) {
  return static_cast<uint64_t>(sample_value_key(value)) << 32 | id;
}

// Largest of a row with its lowest id, and the sum of exp(x - best). Not sound: a NaN, an infinity above, or nothing
// finite.
struct SampleScan {
  float best;
  int32_t id;
  bool sound;
  double log_sum;  // ln of the sum of exp(x)
};

struct SampleBest {
  float best;
  int32_t id;
  int32_t bad;
};

static __device__ __forceinline__ SampleBest sample_better(const SampleBest& a, const SampleBest& b) {
  const bool other = b.best > a.best || (b.best == a.best && b.id < a.id);
  return {other ? b.best : a.best, other ? b.id : a.id, a.bad | b.bad};
}

// Of x[begin] .. x[end - 1], in one pass: a thread's sum is relative to its largest so far, in f32 for 8 numbers and in
// double from there on. All threads get it.
static __device__ SamplePart sample_scan_part(SampleShared& s, const float* x, int64_t begin, int64_t end) {
  SampleBest own = {-INFINITY, INT32_MAX, 0};
  float top = -kLargest;
  double sum = 0;
  for (int64_t c = begin + threadIdx.x; c < end; c += kSampleUnroll * kSampleThreads) {
    float v[kSampleUnroll];
#pragma unroll
    for (int i = 0; i < kSampleUnroll; i++) v[i] = c + i * kSampleThreads < end ? x[c + i * kSampleThreads] : -INFINITY;
#pragma unroll
    for (int i = 0; i < kSampleUnroll; i++) {
      own.bad |= !(v[i] < INFINITY);
      if (v[i] > own.best) own.best = v[i], own.id = static_cast<int32_t>(c + i * kSampleThreads);
    }
    if (own.best > top) {
      sum *= static_cast<double>(sample_exp(top - own.best));
      top = own.best;
    }
#pragma unroll
    for (int i = 0; i < kSampleUnroll; i++) v[i] = sample_exp(v[i] - top);
    sum += static_cast<double>(((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])));
  }
  const SampleBest all = sample_reduce(s, own, sample_better);
  const bool sound = all.bad == 0 && all.best > -INFINITY;
  sum = sample_sum(s, sound ? sum * static_cast<double>(sample_exp(top - all.best)) : 0.0);
  return {all.best, all.id, all.bad, sum};
}

// Of parts of a row, at most two a lane, by each warp for itself.
static __device__ SampleScan sample_scan_of(const SamplePart* parts, int64_t count) {
  SampleBest all = {-INFINITY, INT32_MAX, 0};
  for (int64_t i = warp_lane(); i < count; i += kWarp)
    all = sample_better(all, {parts[i].best, parts[i].id, parts[i].bad});
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2)
    all = sample_better(all, {__shfl_xor_sync(kAllLanes, all.best, lanes), __shfl_xor_sync(kAllLanes, all.id, lanes),
                              __shfl_xor_sync(kAllLanes, all.bad, lanes)});
  if (all.bad != 0 || !(all.best > -INFINITY)) return {all.best, -1, false, -INFINITY};
  double sum = 0;
  for (int64_t i = warp_lane(); i < count; i += kWarp)
    sum += parts[i].sum * static_cast<double>(sample_exp(parts[i].best - all.best));
  return {all.best, all.id, true, static_cast<double>(all.best) + log(warp_sum(sum))};
}

static __device__ SampleScan sample_scan(SampleShared& s, const float* x, int64_t n) {
  const SamplePart all = sample_scan_part(s, x, 0, n);
  return sample_scan_of(&all, 1);
}

}  // namespace verdant::cuda
