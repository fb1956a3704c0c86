// Quantised rows as panels: what native/cpu/dot/quants.h reads.
#pragma once
#include <cstdint>

#include "core/op.h"

namespace verdant {

// Up to 16 rows in stored form, `stride` bytes apart, to one panel that is zero before.
using PackPanel = void (*)(const uint8_t* rows, int64_t stride, int64_t count, int64_t cols, uint8_t* panel);

struct PanelType {
  PackPanel pack;
  int64_t block, bytes;  // bytes of a panel for `block` columns
};

// pack == nullptr: not a type in blocks.
PanelType block_panel_type(DType dtype);

}  // namespace verdant
