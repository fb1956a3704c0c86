// Matrices in the form that kernels read: panels of 16 output rows.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/op.h"
#include "core/weight_expr.h"
#include "cpu/memory.h"

namespace verdant {

// Owns a packed matrix; `bytes` is its memory.
struct PackedHolder {
  PackedMatrix matrix{};
  std::vector<PanelSegment> segments;
  Pages pages;
  int64_t bytes = 0;
};

// Packs a weight (rows, cols) with up to `threads` threads, or finds the same weight packed by anyone in this process.
// Adds stored bytes to control.bytes_done. Throws ERR_ABORTED when cancelled, ERR_OUT_OF_MEMORY, and what reading
// throws.
std::shared_ptr<PackedHolder> pack_panels(const WeightExprPtr& expr, int threads, CompileControl& control);

}  // namespace verdant
