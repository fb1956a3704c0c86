// The most likely ids of a row, best first.
#pragma once
#include "cuda/sample_pool.cuh"

namespace verdant::cuda {

// The `wanted` largest of x less `log_sum`, lower id first on a tie; ids NaN has none of. Returns how many there are.
static __device__ int64_t sample_top(SamplePool& p, SampleShared& s, int64_t wanted, double log_sum, int32_t* ids,
                                     float* logprobs) {
  if (wanted <= 0) return 0;
  float least = p.best - kFirstReach;
  pool_gather<false>(p, s, least);
  for (float reach = 2 * kFirstReach; p.count < wanted && least > -INFINITY; reach *= 2) {
    least = reach > kLastReach ? -INFINITY : p.best - reach;
    pool_gather<false>(p, s, least);
  }
  wanted = min(wanted, p.count);
  uint64_t* const keys = reinterpret_cast<uint64_t*>(s.scratch);
  uint64_t low = sample_key(p.best, 0);
  const uint64_t high = sample_key(least, 0xffffffffu);
  for (int64_t begin = 0; begin < wanted; begin += kSampleThreads) {
    const int count = static_cast<int>(min(wanted - begin, int64_t{kSampleThreads}));
    const SampleCut cut = sample_select<false>(
        s, p.count, low, high, static_cast<double>(count), [&p](int64_t i) { return p.key(i); },
        [](int64_t) -> uint64_t { return 1; });
    if (threadIdx.x == 0) s.slots = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < p.count; i += kSampleThreads)
      if (p.key(i) >= low && p.key(i) <= cut.high) keys[atomicAdd(&s.slots, 1)] = p.key(i);
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < count) {
      const uint64_t own = keys[threadIdx.x];
      int64_t at = begin;
      for (int i = 0; i < count; i++) at += keys[i] < own ? 1 : 0;
      ids[at] = static_cast<int32_t>(own & 0xffffffffu);
      const float value = sample_key_value(static_cast<uint32_t>(own >> 32));
      logprobs[at] = static_cast<float>(static_cast<double>(value) - log_sum);
    }
    __syncthreads();
    low = cut.high + 1;
  }
  return wanted;
}

}  // namespace verdant::cuda
