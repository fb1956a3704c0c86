#pragma once
#include "core/op.h"

namespace verdant {

// rms_norm: x (rows, groups * cols), weight (cols) -> y like x. Each group of cols is normed by itself (q/k norm).
//   y[c] = x[c] / sqrt(mean_c x^2 + eps) * (offset + weight[c])        Zhang & Sennrich 2019; offset 1: Gemma
struct RmsNormAttrs {
  double eps;
  double offset;
};
constexpr const char* kRmsNormIn[] = {"x", "weight", nullptr};
constexpr const char* kRmsNormOut[] = {"y", nullptr};
constexpr AttrDef kRmsNormFields[] = {{"eps", kAttrNumber, offsetof(RmsNormAttrs, eps), nullptr},
                                      {"offset", kAttrNumber, offsetof(RmsNormAttrs, offset), nullptr},
                                      {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kRmsNormDef = {"rms_norm", kRmsNormIn, kRmsNormOut, kRmsNormFields, sizeof(RmsNormAttrs)};

}  // namespace verdant
