// x of a linear in bf16: how one half of a group of 32 columns is rounded, dealt and summed.
#pragma once
#include "cuda/linear.h"
#include "cuda/numbers.cuh"

namespace verdant::cuda {

constexpr int kHalfGroup = 16;

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
  const int64_t at = row * 2 * to.groups + half;
  to.sums[at] = sum;
  const int64_t group = at / 2 * 16;  // words
  const int h = static_cast<int>(half % 2);
#pragma unroll
  for (int k = 0; k < kHalfGroup / 2; k++) {
    if (to.eights != nullptr) to.eights[group + 8 * h + k] = w[k];
    if (to.fours != nullptr) to.fours[group + k / 2 * 4 + 2 * h + k % 2] = w[k];
  }
}

}  // namespace verdant::cuda
