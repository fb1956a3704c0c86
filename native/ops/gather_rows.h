#pragma once
#include "core/op.h"

namespace verdant {

// gather_rows: x (rows, cols), index (n) i32 -> y (n, cols);  y[i] = x[index[i]]; an index outside x gives NaN.
struct GatherRowsAttrs {
  int64_t unused;
};
constexpr const char* kGatherRowsIn[] = {"x", "index", nullptr};
constexpr const char* kGatherRowsOut[] = {"y", nullptr};
constexpr AttrDef kGatherRowsFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kGatherRowsDef = {"gather_rows", kGatherRowsIn, kGatherRowsOut, kGatherRowsFields,
                                  sizeof(GatherRowsAttrs)};

}  // namespace verdant
