#include "ops/conv1d.h"

namespace verdant::VERDANT_ISA {

// The taps of a row of y are neighbouring rows of x, so a convolution is a product of overlapping rows of kernel *
// width floats that begin stride * width apart, width = c_in / groups. With padding or groups these rows come from a
// copy of x in the workspace: group by group, each sequence between `padding` rows of zeros. Phase 0: the copy. Tasks
// are its rows. Phase 1: tasks are (group, panels of it, block of rows), blocks fastest.
constexpr int64_t kConvPanels = 4;
constexpr int64_t kConvRows = 16;  // rows at a time where a group begins inside a panel

struct ConvLayout {
  int64_t kernel, stride, padding, groups;
  int64_t seqs, rows, width;  // of x: rows of all sequences, columns of a group
  int64_t copied;             // rows of the copy; 0: x is read where it lies
  int64_t outputs;            // rows of y
  int64_t cols, group_cols;   // of y, and of a group of it
  const int32_t *starts, *y_starts;
};

static ConvLayout conv_layout(const OpCall& call) {
  const Conv1dAttrs& a = *(const Conv1dAttrs*)call.attrs;
  ConvLayout l;
  l.kernel = a.kernel;
  l.stride = a.stride;
  l.padding = a.padding;
  l.groups = a.groups;
  l.seqs = call.in[3].dim[0] - 1;
  l.rows = call.in[0].dim[0];
  l.width = call.in[0].dim[1] / a.groups;
  l.copied = a.padding > 0 || a.groups > 1 ? l.rows + 2 * a.padding * l.seqs : 0;
  l.outputs = call.out[0].dim[0];
  l.cols = call.out[0].dim[1];
  l.group_cols = l.cols / a.groups;
  l.starts = (const int32_t*)call.in[3].data;
  l.y_starts = (const int32_t*)call.in[4].data;
  return l;
}

// The copy is followed by nothing: every tap of a row of y lies in its sequence.
static int64_t conv1d_workspace(const OpCall& call) {
  const ConvLayout l = conv_layout(call);
  return l.copied * call.in[0].dim[1] * (int64_t)sizeof(float);
}

// Groups of panels that a group's outputs touch at most.
static inline int64_t conv_parts(const ConvLayout& l) {
  const int64_t panels = (l.group_cols + kPanelRows - 1) / kPanelRows + (l.group_cols % kPanelRows != 0);
  return (panels + kConvPanels - 1) / kConvPanels;
}

static int64_t conv1d_tasks(const OpCall& call, int32_t phase) {
  const ConvLayout l = conv_layout(call);
  return phase == 0 ? l.copied : l.groups * conv_parts(l) * row_blocks(l.outputs);
}

static int64_t conv1d_cost(const OpCall& call) {
  const ConvLayout l = conv_layout(call);
  return 2 * l.outputs * l.cols * l.kernel * l.width;
}

// The last s with bounds[s] + s * step <= row.
static int64_t conv_sequence(const int32_t* bounds, int64_t count, int64_t step, int64_t row) {
  int64_t low = 0, high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (bounds[middle] + middle * step <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static void conv_copy_row(const OpCall& call, const ConvLayout& l, int64_t row) {
  const int64_t s = conv_sequence(l.starts, l.seqs, 2 * l.padding, row);
  const int64_t from = row - 2 * l.padding * s - l.padding;
  float* y = (float*)call.workspace + row * l.width;
  const size_t bytes = (size_t)l.width * sizeof(float);
  const bool inside = from >= l.starts[s] && from < l.starts[s + 1];
  const float* x = (const float*)call.in[0].data + from * l.width * l.groups;
  for (int64_t g = 0; g < l.groups; g++, y += l.copied * l.width)
    if (inside)
      memcpy(y, x + g * l.width, bytes);
    else
      memset(y, 0, bytes);
}

// Outputs whose panels begin inside the group before: made aside, and its own columns moved to y.
static void conv_aside(const OpCall& call, const PanelSegment& s, GemmArgs g, int64_t skip) {
  float aside[kConvRows * kConvPanels * kPanelRows];
  float* y = g.y;
  const int64_t rows = g.m, y_stride = g.y_stride, own = g.n - skip;
  g.y = aside;
  g.y_stride = kConvPanels * kPanelRows;
  for (int64_t r = 0; r < rows; r += kConvRows) {
    g.m = rows - r < kConvRows ? rows - r : kConvRows;
    multiply_rows(call, s, g);
    for (int64_t i = 0; i < g.m; i++)
      memcpy(y + (r + i) * y_stride + skip, aside + i * g.y_stride + skip, (size_t)own * sizeof(float));
    g.x = (const float*)g.x + kConvRows * g.x_stride;
  }
}

// Rows [begin, end) of y, all of sequence q, for one part of a group's panels.
static void conv_multiply(const OpCall& call, const ConvLayout& l, int64_t group, int64_t part, int64_t q,
                          int64_t begin, int64_t end) {
  const PackedMatrix& w = *(const PackedMatrix*)call.in[1].data;
  const PanelSegment* s = w.segments;
  while (group * l.group_cols >= s->row_begin + s->rows) s++;
  const int64_t first = group * l.group_cols - s->row_begin, width = kConvPanels * kPanelRows;
  const int64_t skip = part == 0 ? first % kPanelRows : 0, column = part * width - first % kPanelRows;
  const int64_t last = column + width < l.group_cols ? column + width : l.group_cols;
  if (column >= l.group_cols) return;
  GemmArgs g = {};
  g.k = l.kernel * l.width;
  g.x_stride = l.stride * l.width;
  const int64_t row = l.starts[q] + (begin - l.y_starts[q]) * l.stride;
  if (l.copied > 0)
    g.x = (const float*)call.workspace + (group * l.copied + row + 2 * l.padding * q) * l.width;
  else
    g.x = (const float*)call.in[0].data + row * l.width;
  g.m = end - begin;
  g.panels = s->data + (first / kPanelRows + part * kConvPanels) * s->panel_bytes;
  g.panel_bytes = s->panel_bytes;
  g.n = last - column;
  g.y = (float*)call.out[0].data + begin * l.cols + group * l.group_cols + column;
  g.y_stride = l.cols;
  const float* bias = (const float*)call.in[2].data;
  g.bias = bias == nullptr ? nullptr : bias + group * l.group_cols + column;
  if (skip > 0)
    conv_aside(call, *s, g, skip);
  else
    multiply_rows(call, *s, g);
}

static void conv1d_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const ConvLayout l = conv_layout(call);
  if (phase == 0) {
    for (int64_t r = begin; r < end; r++) conv_copy_row(call, l, r);
    return;
  }
  const int64_t blocks = row_blocks(l.outputs), parts = conv_parts(l);
  for (int64_t t = begin; t < end; t++) {
    const int64_t b = t % blocks, last = (b + 1) * l.outputs / blocks;
    for (int64_t row = b * l.outputs / blocks; row < last;) {
      const int64_t q = conv_sequence(l.y_starts, l.seqs, 0, row);
      const int64_t stop = l.y_starts[q + 1] < last ? l.y_starts[q + 1] : last;
      conv_multiply(call, l, t / blocks / parts, t / blocks % parts, q, row, stop);
      row = stop;
    }
  }
}

static const Kernel conv1d_kernel = {2, conv1d_tasks, conv1d_run, conv1d_workspace, conv1d_cost};

}  // namespace verdant::VERDANT_ISA
