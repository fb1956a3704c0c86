#pragma once
#include "core/op.h"

namespace verdant {

// softmax: x (rows, cols) -> y like x;  y[c] = exp(x[c] - max) / sum_c exp(x[c] - max); a row of -inf gives NaN.
struct SoftmaxAttrs {
  int64_t unused;
};
constexpr const char* kSoftmaxIn[] = {"x", nullptr};
constexpr const char* kSoftmaxOut[] = {"y", nullptr};
constexpr AttrDef kSoftmaxFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kSoftmaxDef = {"softmax", kSoftmaxIn, kSoftmaxOut, kSoftmaxFields, sizeof(SoftmaxAttrs)};

}  // namespace verdant
