#pragma once
#include "core/op.h"

namespace verdant {

// matmul: a (..., m, k), b (..., k, n) -> y (..., m, n) with equal leading dims, rank 2 to 4;
// transpose_b: b is (..., n, k). One chain per element, k ascending.
struct MatmulAttrs {
  int64_t transpose_b;
};
constexpr const char* kMatmulIn[] = {"a", "b", nullptr};
constexpr const char* kMatmulOut[] = {"y", nullptr};
constexpr AttrDef kMatmulFields[] = {{"transpose_b", kAttrBool, offsetof(MatmulAttrs, transpose_b), nullptr},
                                     {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kMatmulDef = {"matmul", kMatmulIn, kMatmulOut, kMatmulFields, sizeof(MatmulAttrs)};

}  // namespace verdant
