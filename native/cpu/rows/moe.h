#include "ops/moe.h"

namespace verdant::VERDANT_ISA {

// A place is a row at one of its experts; the places of an expert lie one after another, rows ascending.
// Phase 0, tasks are rows: the experts of each row. Phase 1, one task: places. Phase 2, tasks are rows: the forms of x,
// made once and copied to all places of the row. Phase 3: gate and up. Phase 4, tasks are places: fn(gate) * up and its
// forms. Phase 5: down. Phase 6, tasks are rows: the weighted sums.
// Tasks of phases 3 and 5 are equal shares of what the experts that have places need; how many have is known only then.
constexpr int64_t kMoePanels = 4;

// Sizes, and where things lie in the workspace.
struct MoeLayout {
  int64_t rows, hidden, experts, top, ffn, places;
  int64_t probs;            // (rows, experts) f32
  int64_t chosen, weights;  // (rows, top): experts, ascending, i32; f32
  int64_t place;            // (rows, top) i32
  int64_t expert_of;        // (places) i32
  int64_t starts, next;     // (experts + 1) i32: first place of each expert; room for counting
  int64_t active;           // (experts + 1) i32: how many experts have places, and which
  RowForms x, mid;          // of x and fn(gate) * up, by place
  int64_t x_f32;            // (places, hidden)
  int64_t gate, up, down;   // (places, ffn_stride), (places, ffn_stride), (places, hidden_stride)
  int64_t ffn_stride, hidden_stride;
  int64_t bytes;
};

// The matrices of one phase: `rows` output rows of each expert.
struct MoeProduct {
  const PackedMatrix* w[2];
  int64_t y[2];
  int32_t parts;
  int64_t rows, y_stride;
  const RowForms* forms;
  int64_t x, x_stride;  // where the floats lie
};

static inline const PackedMatrix& moe_matrix(const OpCall& call, int32_t input) {
  return *(const PackedMatrix*)call.in[input].data;
}

// An expert whose rows begin inside a panel has up to 15 outputs of the expert before it in front of its own.
static inline int64_t moe_stride(int64_t n) { return n % kPanelRows == 0 ? n : n + kPanelRows; }

static MoeLayout moe_layout(const OpCall& call) {
  MoeLayout l;
  l.rows = call.in[0].dim[0];
  l.hidden = call.in[0].dim[1];
  l.experts = call.in[1].dim[1];
  l.top = ((const MoeAttrs*)call.attrs)->top;
  l.ffn = moe_matrix(call, 4).cols;
  l.places = l.rows * l.top;
  l.ffn_stride = moe_stride(l.ffn);
  l.hidden_stride = moe_stride(l.hidden);
  int64_t bytes = 0;
  l.probs = take_bytes(bytes, l.rows * l.experts * 4);
  l.chosen = take_bytes(bytes, l.places * 4);
  l.weights = take_bytes(bytes, l.places * 4);
  l.place = take_bytes(bytes, l.places * 4);
  l.expert_of = take_bytes(bytes, l.places * 4);
  l.starts = take_bytes(bytes, (l.experts + 1) * 4);
  l.next = take_bytes(bytes, (l.experts + 1) * 4);
  l.active = take_bytes(bytes, (l.experts + 1) * 4);
  l.x = no_forms(l.places, l.hidden);
  l.mid = no_forms(l.places, l.ffn);
  add_forms(call, moe_matrix(call, 2), l.x, bytes);
  add_forms(call, moe_matrix(call, 3), l.x, bytes);
  add_forms(call, moe_matrix(call, 4), l.mid, bytes);
  l.x_f32 = take_bytes(bytes, l.x.f32 ? l.places * l.hidden * 4 : 0);
  l.gate = take_bytes(bytes, l.places * l.ffn_stride * 4);
  l.up = take_bytes(bytes, l.places * l.ffn_stride * 4);
  l.down = take_bytes(bytes, l.places * l.hidden_stride * 4);
  l.bytes = bytes;
  return l;
}

static inline int32_t* moe_ints(const OpCall& call, int64_t at) { return (int32_t*)(call.workspace + at); }
static inline float* moe_floats(const OpCall& call, int64_t at) { return (float*)(call.workspace + at); }

static MoeProduct moe_product(const OpCall& call, const MoeLayout& l, int32_t phase) {
  if (phase == 3)
    return {
        {&moe_matrix(call, 2), &moe_matrix(call, 3)}, {l.gate, l.up}, 2, l.ffn, l.ffn_stride, &l.x, l.x_f32, l.hidden};
  return {{&moe_matrix(call, 4), nullptr}, {l.down, 0}, 1, l.hidden, l.hidden_stride, &l.mid, l.gate, l.ffn_stride};
}

// Groups of panels that an expert's rows touch at most.
static inline int64_t moe_groups(int64_t rows) {
  const int64_t panels = (rows + kPanelRows - 1) / kPanelRows + (rows % kPanelRows != 0);
  return (panels + kMoePanels - 1) / kMoePanels;
}

// The segment that holds the rows of an expert, from `first` of the segment's own rows on.
static const PanelSegment& moe_segment(const PackedMatrix& w, int64_t expert, int64_t rows, int64_t& first) {
  const PanelSegment* s = w.segments;
  while (expert * rows >= s->row_begin + s->rows) s++;
  first = expert * rows - s->row_begin;
  return *s;
}

// Outputs in front of an expert's own.
static inline int64_t moe_skip(const PackedMatrix& w, int64_t expert, int64_t rows) {
  int64_t first;
  moe_segment(w, expert, rows, first);
  return first % kPanelRows;
}

static void moe_route_row(const OpCall& call, const MoeLayout& l, int64_t r) {
  float* p = moe_floats(call, l.probs) + r * l.experts;
  int32_t* chosen = moe_ints(call, l.chosen) + r * l.top;
  float* weights = moe_floats(call, l.weights) + r * l.top;
  softmax_row((const float*)call.in[1].data + r * l.experts, p, l.experts);
  float sum = 0;
  for (int64_t i = 0; i < l.top; i++) {
    int32_t best = -1;
    for (int32_t e = 0; e < (int32_t)l.experts; e++)
      if (!(p[e] < 0) && (best < 0 || p[e] > p[best])) best = e;  // where all are NaN: the first
    const float weight = p[best];
    p[best] = -1;  // taken
    sum += weight;
    int64_t at = i;
    for (; at > 0 && chosen[at - 1] > best; at--) {
      chosen[at] = chosen[at - 1];
      weights[at] = weights[at - 1];
    }
    chosen[at] = best;
    weights[at] = weight;
  }
  if (((const MoeAttrs*)call.attrs)->normalise != 0)
    for (int64_t i = 0; i < l.top; i++) weights[i] = weights[i] / sum;
}

static void moe_group(const OpCall& call, const MoeLayout& l) {
  int32_t *starts = moe_ints(call, l.starts), *next = moe_ints(call, l.next), *active = moe_ints(call, l.active);
  const int32_t* chosen = moe_ints(call, l.chosen);
  memset(next, 0, (size_t)(l.experts + 1) * 4);
  for (int64_t i = 0; i < l.places; i++) next[chosen[i]]++;
  starts[0] = active[0] = 0;
  for (int64_t e = 0; e < l.experts; e++) {
    if (next[e] > 0) active[++active[0]] = (int32_t)e;
    starts[e + 1] = starts[e] + next[e];
    next[e] = starts[e];
  }
  for (int64_t i = 0; i < l.places; i++) {
    const int32_t place = next[chosen[i]]++;
    moe_ints(call, l.place)[i] = place;
    moe_ints(call, l.expert_of)[place] = chosen[i];
  }
}

static void moe_gather_row(const OpCall& call, const MoeLayout& l, int64_t r) {
  const float* x = (const float*)call.in[0].data + r * l.hidden;
  const int32_t* places = moe_ints(call, l.place) + r * l.top;
  round_row(call, l.x, x, places[0]);
  for (int64_t i = 0; i < l.top; i++) {
    if (i > 0) copy_form_row(call, l.x, places[0], places[i]);
    if (l.x.f32) memcpy(moe_floats(call, l.x_f32) + places[i] * l.hidden, x, (size_t)l.hidden * 4);
  }
}

// Groups [begin, end) of an expert's panels for all its places.
static void moe_multiply(const OpCall& call, const MoeLayout& l, const MoeProduct& m, int32_t part, int64_t expert,
                         int64_t begin, int64_t end) {
  int64_t first;
  const PanelSegment& s = moe_segment(*m.w[part], expert, m.rows, first);
  const int64_t skip = first % kPanelRows, width = kMoePanels * kPanelRows;
  const int64_t last = end * width < skip + m.rows ? end * width : skip + m.rows;
  if (begin * width >= last) return;
  const int32_t* starts = moe_ints(call, l.starts) + expert;
  const int64_t rows = starts[1] - starts[0], blocks = row_blocks(rows);
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t row = starts[0] + b * rows / blocks;
    GemmArgs g;
    form_rows(call, *m.forms, s, moe_floats(call, m.x), m.x_stride, row, g);
    g.m = starts[0] + (b + 1) * rows / blocks - row;
    g.panels = s.data + (first / kPanelRows + begin * kMoePanels) * s.panel_bytes;
    g.panel_bytes = s.panel_bytes;
    g.n = last - begin * width;
    g.y = moe_floats(call, m.y[part]) + row * m.y_stride + begin * width;
    g.y_stride = m.y_stride;
    g.bias = nullptr;
    multiply_rows(call, s, g);
  }
}

// Units are (active expert, part, group of panels), groups fastest; of neighbouring groups as many go in one as rows
// that pass them in one go allow.
static void moe_multiply_share(const OpCall& call, const MoeLayout& l, const MoeProduct& m, int64_t tasks,
                               int64_t begin, int64_t end) {
  const int32_t* active = moe_ints(call, l.active);
  const int64_t groups = moe_groups(m.rows), units = active[0] * m.parts * groups;
  const int64_t last = end * units / tasks;
  for (int64_t u = begin * units / tasks; u < last;) {
    const int64_t expert = active[1 + u / groups / m.parts], group = u % groups;
    const int32_t* starts = moe_ints(call, l.starts) + expert;
    int64_t count = groups - group < last - u ? groups - group : last - u;
    if (starts[1] - starts[0] > kFormRows) count = 1;
    moe_multiply(call, l, m, (int32_t)(u / groups % m.parts), expert, group, group + count);
    u += count;
  }
}

// fn(gate) * up over gate, moved to the front of its row, and its forms.
static void moe_gate_place(const OpCall& call, const MoeLayout& l, int64_t place) {
  const int64_t expert = moe_ints(call, l.expert_of)[place];
  float* y = moe_floats(call, l.gate) + place * l.ffn_stride;
  const float* gate = y + moe_skip(moe_matrix(call, 2), expert, l.ffn);
  const float* up = moe_floats(call, l.up) + place * l.ffn_stride + moe_skip(moe_matrix(call, 3), expert, l.ffn);
  const int64_t ffn = l.ffn;
  with_activation(((const MoeAttrs*)call.attrs)->fn, [=](auto f) {
    each_vec(ffn, [=](int64_t c, int64_t lanes) {
      store_part(y + c, mul(f(load_part(gate + c, lanes)), load_part(up + c, lanes)), lanes);
    });
  });
  round_row(call, l.mid, y, place);
}

static void moe_sum_row(const OpCall& call, const MoeLayout& l, int64_t r) {
  float* y = (float*)call.out[0].data + r * l.hidden;
  const float* weights = moe_floats(call, l.weights) + r * l.top;
  for (int64_t i = 0; i < l.top; i++) {
    const int64_t at = r * l.top + i, expert = moe_ints(call, l.chosen)[at];
    const float* part = moe_floats(call, l.down) + moe_ints(call, l.place)[at] * l.hidden_stride +
                        moe_skip(moe_matrix(call, 4), expert, l.hidden);
    const Vec weight = set1(weights[i]);
    each_vec(l.hidden, [=](int64_t c, int64_t lanes) {
      store_part(y + c, fma(weight, load_part(part + c, lanes), i == 0 ? zero() : load_part(y + c, lanes)), lanes);
    });
  }
}

static int64_t moe_tasks(const OpCall& call, int32_t phase) {
  const int64_t rows = call.in[0].dim[0];
  if (phase == 1) return rows > 0;
  if (phase == 0 || phase == 2 || phase == 6) return rows;
  const MoeLayout l = moe_layout(call);
  if (phase == 4) return l.places;
  const MoeProduct m = moe_product(call, l, phase);
  return (l.places < l.experts ? l.places : l.experts) * m.parts * moe_groups(m.rows);
}

static void moe_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const MoeLayout l = moe_layout(call);
  if (phase == 1) return moe_group(call, l);
  if (phase == 3 || phase == 5)
    return moe_multiply_share(call, l, moe_product(call, l, phase), moe_tasks(call, phase), begin, end);
  const auto run = phase == 0 ? moe_route_row : phase == 2 ? moe_gather_row : phase == 4 ? moe_gate_place : moe_sum_row;
  for (int64_t i = begin; i < end; i++) run(call, l, i);
}

static int64_t moe_workspace(const OpCall& call) { return moe_layout(call).bytes; }

static int64_t moe_cost(const OpCall& call) {
  const MoeLayout l = moe_layout(call);
  return l.places * (6 * l.hidden * l.ffn + l.experts);
}

static const Kernel moe_kernel = {7, moe_tasks, moe_run, moe_workspace, moe_cost};

}  // namespace verdant::VERDANT_ISA
