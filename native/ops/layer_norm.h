#pragma once
#include "core/op.h"

namespace verdant {

// layer_norm: x (rows, cols), weight (cols), bias? (cols) -> y like x.
//   y[c] = (x[c] - mean) / sqrt(var + eps) * weight[c] + bias[c], var over cols without Bessel   Ba et al. 2016
struct LayerNormAttrs {
  double eps;
};
constexpr const char* kLayerNormIn[] = {"x", "weight", "bias?", nullptr};
constexpr const char* kLayerNormOut[] = {"y", nullptr};
constexpr AttrDef kLayerNormFields[] = {{"eps", kAttrNumber, offsetof(LayerNormAttrs, eps), nullptr},
                                        {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kLayerNormDef = {"layer_norm", kLayerNormIn, kLayerNormOut, kLayerNormFields, sizeof(LayerNormAttrs)};

}  // namespace verdant
