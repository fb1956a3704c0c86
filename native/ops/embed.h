#pragma once
#include "core/op.h"

namespace verdant {

// embed: ids (rows) i32, table packed (vocab, cols) -> y (rows, cols);  y[r] = table[ids[r]]
// ids are checked by the caller (lib/runtime): an id outside the table gives a row of NaN, never a wild read.
struct EmbedAttrs {
  int64_t unused;
};
constexpr const char* kEmbedIn[] = {"ids", "table", nullptr};
constexpr const char* kEmbedOut[] = {"y", nullptr};
constexpr AttrDef kEmbedFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kEmbedDef = {"embed", kEmbedIn, kEmbedOut, kEmbedFields, sizeof(EmbedAttrs)};

}  // namespace verdant
