#pragma once
#include "core/op.h"

namespace verdant {

// slice: x (rows, cols) -> y (rows, n) = columns begin .. begin + n of x; n is the size of y.
struct SliceAttrs {
  int64_t begin;
};
constexpr const char* kSliceIn[] = {"x", nullptr};
constexpr const char* kSliceOut[] = {"y", nullptr};
constexpr AttrDef kSliceFields[] = {{"begin", kAttrInt, offsetof(SliceAttrs, begin), nullptr},
                                    {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kSliceDef = {"slice", kSliceIn, kSliceOut, kSliceFields, sizeof(SliceAttrs)};

}  // namespace verdant
