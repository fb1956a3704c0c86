// Where a prefix of an order ends, by count or by mass, without sorting: candidates are counted into 256 bins of equal
// width of their keys, the bin in which the prefix ends is divided again, until one candidate is left in it. Masses are
// integers, so that no sum depends on the order in which threads come.
#pragma once
#include "cuda/sample_block.cuh"

namespace verdant::cuda {

// Keys of a range; a prefix ends within it.
struct SampleCut {
  uint64_t low, high;
};

static __device__ __forceinline__ void sample_bin_add(SampleShared& s, uint64_t bin, uint64_t mass) {
  const uint32_t low = static_cast<uint32_t>(mass), old = atomicAdd(&s.low[bin], low);
  const uint32_t high = static_cast<uint32_t>(mass >> 32) + (old + low < old ? 1 : 0);
  if (high != 0) atomicAdd(&s.high[bin], high);
  atomicAdd(&s.count[bin], 1u);
}

// The first bin with which the mass reaches `target`, or passes it; the last that is not empty where none does. By the
// first warp.
static __device__ void sample_find_bin(SampleShared& s, uint64_t before, double target, bool past) {
  constexpr int kEach = kSampleBins / kWarp;
  const int lane = warp_lane();
  if (lane == 0) s.bin = 0, s.before = before, s.alone = 1;  // where all bins are empty
  __syncwarp();
  const auto mass = [&s](int bin) { return static_cast<uint64_t>(s.high[bin]) << 32 | s.low[bin]; };
  const auto reaches = [target, past](uint64_t sum) {
    return past ? static_cast<double>(sum) > target : static_cast<double>(sum) >= target;
  };
  uint64_t own = 0;
  uint32_t own_count = 0;
  for (int b = lane * kEach; b < (lane + 1) * kEach; b++) own += mass(b), own_count += s.count[b];
  uint64_t sum = own;
  uint32_t count = own_count;
  for (int lanes = 1; lanes < kWarp; lanes *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, sum, lanes);
    const uint32_t others = __shfl_up_sync(kAllLanes, count, lanes);
    if (lane >= lanes) sum += other, count += others;
  }
  const unsigned reached = __ballot_sync(kAllLanes, count > 0 && reaches(before + sum));
  const unsigned filled = __ballot_sync(kAllLanes, own_count > 0);
  if (lane != (reached != 0 ? __ffs(static_cast<int>(reached)) : kWarp - __clz(static_cast<int>(filled))) - 1) return;
  sum = before + sum - own;
  for (int b = lane * kEach; b < (lane + 1) * kEach; b++) {
    if (s.count[b] == 0) continue;
    s.bin = b;
    s.before = sum;
    s.alone = s.count[b] == 1 ? 1 : 0;
    sum += mass(b);
    if (reaches(sum)) return;
  }
}

// Of `n` candidates with a key in low .. high (others do not count; keys may be equal): a range that holds the last of
// the shortest prefix whose mass reaches `target` (kPast: passes it), and none but those of its key.
template <bool kPast, class Key, class Mass>
static __device__ SampleCut sample_select(SampleShared& s, int64_t n, uint64_t low, uint64_t high, double target,
                                          const Key& key, const Mass& mass) {
  uint64_t before = 0;
  for (;;) {
    const int bits = 64 - __clzll(static_cast<long long>(high - low)), shift = bits > 8 ? bits - 8 : 0;
    if (threadIdx.x < kSampleBins) s.low[threadIdx.x] = s.high[threadIdx.x] = s.count[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kSampleThreads) {
      const uint64_t k = key(i);
      if (k >= low && k <= high) sample_bin_add(s, (k - low) >> shift, mass(i));
    }
    __syncthreads();
    if (threadIdx.x < kWarp) sample_find_bin(s, before, target, kPast);
    __syncthreads();
    before = s.before;
    low += static_cast<uint64_t>(s.bin) << shift;
    const uint64_t rest = (uint64_t{1} << shift) - 1;
    if (high - low > rest) high = low + rest;
    if (shift == 0 || s.alone != 0) return {low, high};
  }
}

}  // namespace verdant::cuda
