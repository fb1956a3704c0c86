#pragma once
#include "core/op.h"

namespace verdant {

// conv1d: x (rows_in, c_in), weight packed (c_out, kernel * c_in / groups): tap by tap, bias? (c_out), starts (bounds)
// and y_starts (bounds) i32: the rows of x and of y that belong to each sequence -> y (rows_out, c_out)
//   y[t][o] = bias[o] + sum over j, i of weight[o][j * c_in / groups + i] * x[stride * t + j - padding][g(o) + i]
// with t and the rows of x counted from where the sequence begins, rows before and after it as zeros, and g(o) the
// first column of o's group. A sequence of n rows gives at most (n + 2 padding - kernel) / stride + 1.
struct Conv1dAttrs {
  int64_t kernel;
  int64_t stride;
  int64_t padding;
  int64_t groups;
};
constexpr const char* kConv1dIn[] = {"x", "weight", "bias?", "starts", "y_starts", nullptr};
constexpr const char* kConv1dOut[] = {"y", nullptr};
constexpr AttrDef kConv1dFields[] = {{"kernel", kAttrInt, offsetof(Conv1dAttrs, kernel), nullptr},
                                     {"stride", kAttrInt, offsetof(Conv1dAttrs, stride), nullptr},
                                     {"padding", kAttrInt, offsetof(Conv1dAttrs, padding), nullptr},
                                     {"groups", kAttrInt, offsetof(Conv1dAttrs, groups), nullptr},
                                     {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kConv1dDef = {"conv1d", kConv1dIn, kConv1dOut, kConv1dFields, sizeof(Conv1dAttrs)};

}  // namespace verdant
