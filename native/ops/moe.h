#pragma once
#include "core/op.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace verdant {

// moe: x (rows, hidden), router (rows, experts) logits; gate and up (experts * ffn, hidden), down (experts * hidden,
// ffn): the matrices of expert e are their e-th parts -> y (rows, hidden)
//   p = softmax(router[r]) over all experts; the `top` largest are chosen, the lower index where they are equal
//   w_e = p_e, or p_e / (sum of the chosen p, largest first) with `normalise`
//   y[r] = sum over the chosen e, ascending, of w_e * down_e(fn(gate_e x[r]) * up_e x[r])
// Only matrices of chosen experts are read. Logits with NaN, +inf or only -inf give NaN in that row alone. compute: as
// of linear, for all three matrices.     Shazeer et al. 2017; Fedus et al. 2022; Mixtral (Jiang et al. 2024)
struct MoeAttrs {
  int64_t top;
  int64_t normalise;
  int64_t fn;
  int64_t compute;
};
constexpr const char* kMoeIn[] = {"x", "router", "gate", "up", "down", nullptr};
constexpr const char* kMoeOut[] = {"y", nullptr};
constexpr AttrDef kMoeFields[] = {{"top", kAttrInt, offsetof(MoeAttrs, top), nullptr},
                                  {"normalise", kAttrBool, offsetof(MoeAttrs, normalise), nullptr},
                                  {"fn", kAttrChoice, offsetof(MoeAttrs, fn), kActivationNames},
                                  {"compute", kAttrChoice, offsetof(MoeAttrs, compute), kComputeNames},
                                  {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kMoeDef = {"moe", kMoeIn, kMoeOut, kMoeFields, sizeof(MoeAttrs)};

}  // namespace verdant
