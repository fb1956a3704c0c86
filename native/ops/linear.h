#pragma once
#include "core/op.h"

namespace verdant {

// linear: x (rows, k), weight packed (n, k), bias? (n) -> y (rows, n);  y = x weight^T + bias
// compute: how products are made; `auto` is resolved per weight type and tier, never per row count.
struct LinearAttrs {
  int64_t compute;
};
constexpr const char* kLinearIn[] = {"x", "weight", "bias?", nullptr};
constexpr const char* kLinearOut[] = {"y", nullptr};
constexpr const char* kComputeNames[] = {"auto", "f32", "bf16", nullptr};
constexpr AttrDef kLinearFields[] = {{"compute", kAttrChoice, offsetof(LinearAttrs, compute), kComputeNames},
                                     {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kLinearDef = {"linear", kLinearIn, kLinearOut, kLinearFields, sizeof(LinearAttrs)};

}  // namespace verdant
