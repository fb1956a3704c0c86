#pragma once
#include "core/op.h"

namespace verdant {

// linear: x (rows, k), weight packed (n, k), bias? (n) -> y (rows, n);  y = x weight^T + bias
// Up to three matrices read the same x: y_1 from weight_1 and bias_1, y_2 from weight_2 and bias_2, bit for bit as
// alone. compute: how products are made; `auto` is resolved per weight type and tier, never per row count.
struct LinearAttrs {
  int64_t compute;
};
constexpr const char* kLinearIn[] = {"x", "weight", "bias?", "weight_1?", "bias_1?", "weight_2?", "bias_2?", nullptr};
constexpr const char* kLinearOut[] = {"y", "y_1?", "y_2?", nullptr};
constexpr const char* kComputeNames[] = {"auto", "f32", "bf16", "int8/32", "int8/256", nullptr};
constexpr AttrDef kLinearFields[] = {{"compute", kAttrChoice, offsetof(LinearAttrs, compute), kComputeNames},
                                     {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kLinearDef = {"linear", kLinearIn, kLinearOut, kLinearFields, sizeof(LinearAttrs)};

}  // namespace verdant
