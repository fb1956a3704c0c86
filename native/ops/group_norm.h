#pragma once
#include "core/op.h"

namespace verdant {

// group_norm: x (rows, cols), weight (cols), bias (cols), starts (seq_bounds) i32 -> y (rows, cols): each column over
// the rows of its sequence: (x - mean) / sqrt(variance + eps) * weight + bias.     torch GroupNorm(cols, cols) over
// time
struct GroupNormAttrs {
  double eps;
};
constexpr const char* kGroupNormIn[] = {"x", "weight", "bias", "starts", nullptr};
constexpr const char* kGroupNormOut[] = {"y", nullptr};
constexpr AttrDef kGroupNormFields[] = {{"eps", kAttrNumber, offsetof(GroupNormAttrs, eps), nullptr},
                                        {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kGroupNormDef = {"group_norm", kGroupNormIn, kGroupNormOut, kGroupNormFields, sizeof(GroupNormAttrs)};

}  // namespace verdant
