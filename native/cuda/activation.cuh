// The functions of `activation`, `gated` and `moe`.
#pragma once
#include <cuda_runtime.h>

#include "ops/elementwise.h"

namespace verdant::cuda {

static __device__ __forceinline__ float gelu_tanh(float x) {
  const float inner = 0.7978845608028654f * fmaf(0.044715f * x * x, x, x);
  return x / (1.0f + expf(-2.0f * inner));  // 0.5 (1 + tanh t) = 1 / (1 + e^(-2 t))
}

static __device__ __forceinline__ float activate(int64_t fn, float x) {
  switch (fn) {
    case kGelu:
      return 0.5f * x * erfcf(-0.7071067811865476f * x);
    case kGeluTanh:
      return gelu_tanh(x);
    case kSilu:
      return x / (1.0f + expf(-x));
    case kQuickGelu:
      return x / (1.0f + expf(-1.702f * x));
    case kRelu:
      return x < 0.0f ? 0.0f : x;  // keeps NaN
    case kTanh:
      return tanhf(x);
    case kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    default:
      return expf(x);
  }
}

}  // namespace verdant::cuda
