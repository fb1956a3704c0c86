#pragma once
#include "core/op.h"

namespace verdant {

// copy_blocks: state (blocks, n), copies (copies, 2) i32: block copies[i][1] becomes block copies[i][0], before
// anything else of the step (copy-on-write). No block is both source and target of one step.
struct CopyBlocksAttrs {
  int64_t unused;
};
constexpr const char* kCopyBlocksIn[] = {"state", "copies", nullptr};
constexpr const char* kCopyBlocksOut[] = {nullptr};
constexpr AttrDef kCopyBlocksFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kCopyBlocksDef = {"copy_blocks", kCopyBlocksIn, kCopyBlocksOut, kCopyBlocksFields,
                                  sizeof(CopyBlocksAttrs)};

}  // namespace verdant
