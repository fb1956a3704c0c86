// x of a linear in bf16: how one half of a group of 32 columns is rounded, dealt and summed.
#pragma once
#include "cuda/linear.h"
#include "cuda/numbers.cuh"

namespace verdant::cuda {

constexpr int kHalfGroup = 16;

// Sum number `place` of a unit as three bf16.
static __device__ __forceinline__ void store_parts(float sum, int64_t unit, int place, const RoundTarget& to) {
  uint16_t* at = to.parts + unit * kPartsOfUnit + place % 8 / 2 * 16 + place / 8 * 2 + place % 2;
  for (int i = 0; i < 3; i++) {
    const uint32_t part = bf16_pair(sum, 0.0f) & 0xffff;
    at[4 * i] = static_cast<uint16_t>(part);
    sum -= bf16_value(part);
  }
}

static __device__ __forceinline__ void round_half(const float v[kHalfGroup], int64_t row, int64_t half,
                                                  const RoundTarget& to) {
  uint32_t w[kHalfGroup / 2];
  float sum = 0.0f;
#pragma unroll
  for (int k = 0; k < kHalfGroup / 2; k++) {
    w[k] = bf16_pair(v[2 * k], v[2 * k + 1]);
    sum += bf16_value(w[k] & 0xffff);
    sum += bf16_value(w[k] >> 16);
  }
  if (to.sums != nullptr) to.sums[row * 2 * to.groups + half] = sum;
  if (to.parts != nullptr) store_parts(sum, row * ((to.groups + 7) / 8) + half / 16, static_cast<int>(half % 16), to);
  const int64_t group = (row * to.groups + half / 2) * 16;  // words
  const int h = static_cast<int>(half % 2);
#pragma unroll
  for (int k = 0; k < kHalfGroup / 2; k++) {
    if (to.linear != nullptr) to.linear[group + 8 * h + k] = w[k];
    if (to.dealt != nullptr) to.dealt[group + k / 2 * 4 + 2 * h + k % 2] = w[k];
  }
}

}  // namespace verdant::cuda
