#include "ops/linear.h"

namespace verdant::VERDANT_ISA {

// Up to three matrices share x: part p is in[1 + 2 p], its bias in[2 + 2 p], its result out[p].
// Phase 0: x in the forms that the segments of w want. Tasks are rows.
// Phase 1: tasks are (part, segment, block of rows, some groups of panels), groups fastest so that a block of x stays
// in cache: it is the larger of the two. With one block of rows: (part, segment, group).
constexpr int64_t kLinearPanels = 4;
constexpr int64_t kLinearGroups = 4;

static inline int64_t linear_groups(const PanelSegment& s) {
  return (s.rows + kLinearPanels * kPanelRows - 1) / (kLinearPanels * kPanelRows);
}

// Tasks of a segment for one block of rows.
static inline int64_t linear_columns(const PanelSegment& s, int64_t blocks) {
  return blocks == 1 ? linear_groups(s) : (linear_groups(s) + kLinearGroups - 1) / kLinearGroups;
}

static inline const PackedMatrix& linear_matrix(const OpCall& call, int32_t part) {
  return *(const PackedMatrix*)call.in[1 + 2 * part].data;
}

static RowForms linear_forms(const OpCall& call, int64_t& bytes) {
  RowForms f = no_forms(call.in[0].dim[0], call.in[0].dim[1]);
  for (int32_t p = 0; p < call.out_count; p++) add_forms(call, linear_matrix(call, p), f, bytes);
  return f;
}

static int64_t linear_workspace(const OpCall& call) {
  int64_t bytes = 0;
  linear_forms(call, bytes);
  return bytes;
}

static int64_t linear_tasks(const OpCall& call, int32_t phase) {
  const int64_t rows = call.in[0].dim[0];
  if (phase == 0) return linear_workspace(call) > 0 ? rows : 0;
  const int64_t blocks = row_blocks(rows);
  int64_t columns = 0;
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t s = 0; s < linear_matrix(call, p).segment_count; s++)
      columns += linear_columns(linear_matrix(call, p).segments[s], blocks);
  return columns * blocks;
}

static int64_t linear_cost(const OpCall& call) {
  int64_t columns = 0;
  for (int32_t p = 0; p < call.out_count; p++) columns += call.out[p].dim[1];
  return 2 * call.in[0].dim[0] * call.in[0].dim[1] * columns;
}

// Rows [row_begin, row_end) times groups [begin, end) of one segment.
static void linear_groups_run(const OpCall& call, const RowForms& f, int32_t part, const PanelSegment& s, int64_t begin,
                              int64_t end, int64_t row_begin, int64_t row_end) {
  const int64_t n = call.out[part].dim[1], first = begin * kLinearPanels * kPanelRows;
  const int64_t last = end * kLinearPanels * kPanelRows, column = s.row_begin + first;
  GemmArgs g;
  form_rows(call, f, s, (const float*)call.in[0].data, f.k, row_begin, g);
  g.m = row_end - row_begin;
  g.panels = s.data + begin * kLinearPanels * s.panel_bytes;
  g.panel_bytes = s.panel_bytes;
  g.n = (last < s.rows ? last : s.rows) - first;
  g.y = (float*)call.out[part].data + row_begin * n + column;
  g.y_stride = n;
  const float* bias = (const float*)call.in[2 + 2 * part].data;
  g.bias = bias == nullptr ? nullptr : bias + column;
  multiply_rows(call, s, g);
}

static void linear_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  int64_t bytes = 0;
  const RowForms f = linear_forms(call, bytes);
  if (phase == 0) {
    for (int64_t r = begin; r < end; r++) round_row(call, f, (const float*)call.in[0].data + r * f.k, r);
    return;
  }
  const int64_t rows = call.in[0].dim[0], blocks = row_blocks(rows);
  int64_t base = 0;  // tasks of the segments before
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t i = 0; i < linear_matrix(call, p).segment_count && base < end; i++) {
      const PanelSegment& s = linear_matrix(call, p).segments[i];
      const int64_t columns = linear_columns(s, blocks), groups = linear_groups(s), tasks = columns * blocks;
      const int64_t first = begin > base ? begin - base : 0, last = end - base < tasks ? end - base : tasks;
      base += tasks;
      if (blocks == 1) {  // neighbouring groups in one go
        if (first < last) linear_groups_run(call, f, p, s, first, last, 0, rows);
        continue;
      }
      for (int64_t t = first; t < last; t++) {
        const int64_t b = t / columns, group = t % columns * kLinearGroups;
        const int64_t until = groups - group < kLinearGroups ? groups : group + kLinearGroups;
        linear_groups_run(call, f, p, s, group, until, b * rows / blocks, (b + 1) * rows / blocks);
      }
    }
}

static const Kernel linear_kernel = {2, linear_tasks, linear_run, linear_workspace, linear_cost, linear_run};

}  // namespace verdant::VERDANT_ISA
