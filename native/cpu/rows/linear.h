#include "cpu/dot/list.h"
#include "ops/linear.h"

namespace verdant::VERDANT_ISA {

// Phase 0, only for bf16: x rounded to bf16 in the workspace, rows padded with zero to an even k.
// Phase 1: tasks are (segment, group of panels, block of rows), blocks of rows fastest so that a group stays in cache.
constexpr int64_t kLinearPanels = 4;
constexpr int64_t kLinearRows = 192;

static inline int64_t even(int64_t k) { return (k + 1) & ~(int64_t)1; }
static inline int64_t linear_row_blocks(int64_t rows) { return (rows + kLinearRows - 1) / kLinearRows; }
static inline int64_t linear_groups(const PanelSegment& s) {
  return (s.rows + kLinearPanels * kPanelRows - 1) / (kLinearPanels * kPanelRows);
}

static int64_t linear_tasks(const OpCall& call, int32_t phase) {
  const int64_t rows = call.in[0].dim[0];
  if (phase == 0) return call.compute == kComputeBF16 ? rows : 0;
  const PackedMatrix& w = *(const PackedMatrix*)call.in[1].data;
  int64_t groups = 0;
  for (int32_t s = 0; s < w.segment_count; s++) groups += linear_groups(w.segments[s]);
  return groups * linear_row_blocks(rows);
}

static int64_t linear_workspace(const OpCall& call) {
  return call.compute == kComputeBF16 ? call.in[0].dim[0] * even(call.in[0].dim[1]) * 2 : 0;
}

static int64_t linear_cost(const OpCall& call) {
  return 2 * call.in[0].dim[0] * call.in[0].dim[1] * call.out[0].dim[1];
}

static void linear_round(const OpCall& call, int64_t begin, int64_t end) {
  const int64_t k = call.in[0].dim[1];
  for (int64_t r = begin; r < end; r++) {
    uint16_t* y = (uint16_t*)call.workspace + r * even(k);
    call.kernels->to_bf16((const float*)call.in[0].data + r * k, y, k);
    if (k % 2 != 0) y[k] = 0;
  }
}

// Rows [row_begin, row_end) times groups [begin, end) of one segment.
static void linear_groups_run(const OpCall& call, const PanelSegment& s, int64_t begin, int64_t end, int64_t row_begin,
                              int64_t row_end) {
  const int64_t k = call.in[0].dim[1], n = call.out[0].dim[1], first = begin * kLinearPanels * kPanelRows;
  const int64_t last = end * kLinearPanels * kPanelRows, column = s.row_begin + first;
  GemmFn gemm_bf16 = call.compute == kComputeBF16 ? call.kernels->gemm[s.type][kComputeBF16] : nullptr;
  GemmArgs g;
  g.m = row_end - row_begin;
  g.panels = s.data + begin * kLinearPanels * s.panel_bytes;
  g.panel_bytes = s.panel_bytes;
  g.n = (last < s.rows ? last : s.rows) - first;
  g.k = k;
  g.y = (float*)call.out[0].data + row_begin * n + column;
  g.y_stride = n;
  g.bias = call.in[2].data == nullptr ? nullptr : (const float*)call.in[2].data + column;
  // A segment of a type without a bf16 kernel takes x as it came.
  if (gemm_bf16 != nullptr) {
    g.x_stride = even(k);
    g.x = (const uint16_t*)call.workspace + row_begin * g.x_stride;
    gemm_bf16(g);
  } else {
    g.x_stride = k;
    g.x = (const float*)call.in[0].data + row_begin * k;
    call.kernels->gemm[s.type][kComputeF32](g);
  }
}

static void linear_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  if (phase == 0) return linear_round(call, begin, end);
  const PackedMatrix& w = *(const PackedMatrix*)call.in[1].data;
  const int64_t rows = call.in[0].dim[0], blocks = linear_row_blocks(rows);
  int64_t base = 0;  // tasks of the segments before
  for (int32_t i = 0; i < w.segment_count && base < end; i++) {
    const PanelSegment& s = w.segments[i];
    const int64_t tasks = linear_groups(s) * blocks;
    const int64_t first = begin > base ? begin - base : 0, last = end - base < tasks ? end - base : tasks;
    base += tasks;
    if (blocks == 1) {  // neighbouring groups in one go
      if (first < last) linear_groups_run(call, s, first, last, 0, rows);
      continue;
    }
    for (int64_t t = first; t < last; t++) {
      const int64_t group = t / blocks, b = t % blocks;
      linear_groups_run(call, s, group, group + 1, b * rows / blocks, (b + 1) * rows / blocks);
    }
  }
}

static const Kernel linear_kernel = {2, linear_tasks, linear_run, linear_workspace, linear_cost};

}  // namespace verdant::VERDANT_ISA
