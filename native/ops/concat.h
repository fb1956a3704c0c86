#pragma once
#include "core/op.h"

namespace verdant {

// concat: a (rows, n0), b (rows, n1), further (rows, ni) -> y (rows, n0 + n1 + ...), side by side.
struct ConcatAttrs {
  int64_t unused;
};
constexpr const char* kConcatIn[] = {"a", "b", "...", nullptr};
constexpr const char* kConcatOut[] = {"y", nullptr};
constexpr AttrDef kConcatFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kConcatDef = {"concat", kConcatIn, kConcatOut, kConcatFields, sizeof(ConcatAttrs)};

}  // namespace verdant
