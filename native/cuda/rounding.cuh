// x of a linear in bf16: how a quarter of 16 columns is rounded and dealt, and those are summed.
#pragma once
#include "cuda/launch.cuh"
#include "cuda/linear.h"
#include "cuda/numbers.cuh"

namespace verdant::cuda {

constexpr int kHalfGroup = 16, kQuartersOfGroup = 8;

// Sum number `place` of a unit as three bf16.
static __device__ __forceinline__ void store_parts(float sum, int64_t unit, int place, const RoundTarget& to) {
  for (int i = 0; i < 3; i++) {
    const auto part = static_cast<uint16_t>(bf16_pair(sum, 0.0f));
    if (to.parts != nullptr)
      to.parts[unit * kPartsOfUnit + place % 8 / 2 * 16 + place / 8 * 2 + place % 2 + 4 * i] = part;
    if (to.stepped_parts != nullptr) to.stepped_parts[unit * kPartsOfUnit + 16 * i + place] = part;
    sum -= bf16_value(part);
  }
}

// Columns 4 quarter .. 4 quarter + 3 of a row. By whole warps, whose lanes 4 i .. 4 i + 3 hold the quarters of a half,
// or nothing: then `inside` is false.
static __device__ __forceinline__ void round_quarter(const float v[4], int64_t row, int64_t quarter, bool inside,
                                                     const RoundTarget& to) {
  const uint32_t low = bf16_pair(v[0], v[1]), high = bf16_pair(v[2], v[3]);
  const int64_t half = quarter / 4, group = (row * to.groups + half / 2) * 16;  // words
  const int h = static_cast<int>(half % 2), q = static_cast<int>(quarter % 4);
  if (inside && to.linear != nullptr)
    *reinterpret_cast<uint2*>(to.linear + group + 8 * h + 2 * q) = make_uint2(low, high);
  if (inside && to.dealt != nullptr)
    *reinterpret_cast<uint2*>(to.dealt + group + 4 * q + 2 * h) = make_uint2(low, high);
  if (inside && to.stepped != nullptr) {
    to.stepped[group + 8 * h + q] = low;
    to.stepped[group + 8 * h + 4 + q] = high;
  }
  if (to.sums == nullptr && to.parts == nullptr && to.stepped_parts == nullptr) return;
  float sum = (bf16_value(low & 0xffff) + bf16_value(low >> 16)) + (bf16_value(high & 0xffff) + bf16_value(high >> 16));
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  if (!inside || q != 0) return;
  if (to.sums != nullptr) to.sums[row * 2 * to.groups + half] = sum;
  if (to.parts != nullptr || to.stepped_parts != nullptr)
    store_parts(sum, row * ((to.groups + 7) / 8) + half / 16, static_cast<int>(half % 16), to);
}

}  // namespace verdant::cuda
