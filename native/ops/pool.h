#pragma once
#include "core/op.h"

namespace verdant {

// pool: x (rows, cols), starts (seq_bounds) i32 -> y (seqs, cols): over the rows of each sequence, the mean, the
// largest, the sum divided by the square root of their number, or the mean weighted by place: sum of (i + 1) x_i over
// sum of (i + 1). A sequence without rows gives zeros; the largest of values that are not finite is NaN.
struct PoolAttrs {
  int64_t mode;
};
enum PoolMode : int64_t { kPoolMean, kPoolMax, kPoolSqrt, kPoolWeighted };
constexpr const char* kPoolModes[] = {"mean", "max", "sqrt", "weighted", nullptr};
constexpr const char* kPoolIn[] = {"x", "starts", nullptr};
constexpr const char* kPoolOut[] = {"y", nullptr};
constexpr AttrDef kPoolFields[] = {{"mode", kAttrChoice, offsetof(PoolAttrs, mode), kPoolModes},
                                   {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kPoolDef = {"pool", kPoolIn, kPoolOut, kPoolFields, sizeof(PoolAttrs)};

}  // namespace verdant
