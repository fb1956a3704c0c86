#include "ops/group_norm.h"

namespace verdant::VERDANT_ISA {

// Blocks of 256 rows of a sequence, counted from its beginning: phase 0 finds the mean of each column of a block and
// the squares of what differs from it, phase 1 puts the blocks of a sequence together in order, in double, phase 2
// norms. Sequence s owns the slots from starts[s] / 256 + s on, at least as many as it has blocks; the last ones may be
// empty. Workspace: means and squares (slots, cols) each, then offset and factor (seqs, cols) each.
constexpr int64_t kNormRows = 256;

struct NormLayout {
  int64_t rows, cols, seqs, slots;
  const int32_t* starts;
  float *means, *squares, *offset, *factor;
};

static NormLayout norm_layout(const OpCall& call) {
  NormLayout l;
  l.rows = call.in[0].dim[0];
  l.cols = call.in[0].dim[1];
  l.seqs = call.in[3].dim[0] - 1;
  l.slots = l.rows / kNormRows + l.seqs;
  l.starts = (const int32_t*)call.in[3].data;
  l.means = (float*)call.workspace;
  l.squares = l.means + l.slots * l.cols;
  l.offset = l.squares + l.slots * l.cols;
  l.factor = l.offset + l.seqs * l.cols;
  return l;
}

static int64_t group_norm_workspace(const OpCall& call) {
  const NormLayout l = norm_layout(call);
  return (2 * l.slots + 2 * l.seqs) * l.cols * (int64_t)sizeof(float);
}

static int64_t group_norm_tasks(const OpCall& call, int32_t phase) {
  const NormLayout l = norm_layout(call);
  return phase == 0 ? l.slots : phase == 1 ? l.seqs : l.rows;
}

static int64_t group_norm_cost(const OpCall& call) { return 6 * call.in[0].dim[0] * call.in[0].dim[1]; }

static inline int64_t norm_slot(const NormLayout& l, int64_t s) { return l.starts[s] / kNormRows + s; }

// The sequence that owns a slot.
static int64_t norm_owner(const NormLayout& l, int64_t slot) {
  int64_t low = 0, high = l.seqs;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (norm_slot(l, middle) <= slot)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static void norm_block(const OpCall& call, const NormLayout& l, int64_t slot) {
  const int64_t s = norm_owner(l, slot), cols = l.cols;
  const int64_t begin = l.starts[s] + (slot - norm_slot(l, s)) * kNormRows;
  if (begin >= l.starts[s + 1]) return;
  const int64_t end = begin + kNormRows < l.starts[s + 1] ? begin + kNormRows : l.starts[s + 1];
  const float* x = (const float*)call.in[0].data;
  float *means = l.means + slot * cols, *squares = l.squares + slot * cols;
  const Vec count = set1((float)(end - begin));
  each_vec(cols, [=](int64_t c, int64_t lanes) {
    Vec sum = zero(), square = zero();
    for (int64_t r = begin; r < end; r++) sum = add(sum, load_part(x + r * cols + c, lanes));
    const Vec mean = div(sum, count);
    for (int64_t r = begin; r < end; r++) {
      const Vec d = sub(load_part(x + r * cols + c, lanes), mean);
      square = fma(d, d, square);
    }
    store_part(means + c, mean, lanes);
    store_part(squares + c, square, lanes);
  });
}

// variance = sum over blocks of (squares + rows (mean of the block - mean)^2) / rows; norming is x factor + offset.
static void norm_sequence(const OpCall& call, const NormLayout& l, int64_t s) {
  const GroupNormAttrs& a = *(const GroupNormAttrs*)call.attrs;
  const int64_t rows = l.starts[s + 1] - l.starts[s], first = norm_slot(l, s);
  const int64_t blocks = (rows + kNormRows - 1) / kNormRows;
  for (int64_t c = 0; c < l.cols && rows > 0; c++) {
    const float *means = l.means + first * l.cols + c, *squares = l.squares + first * l.cols + c;
    const auto count = [=](int64_t b) { return (double)(b + 1 < blocks ? kNormRows : rows - b * kNormRows); };
    double mean = 0, square = 0;
    for (int64_t b = 0; b < blocks; b++) mean += count(b) * (double)means[b * l.cols];
    mean /= (double)rows;
    for (int64_t b = 0; b < blocks; b++) {
      const double d = (double)means[b * l.cols] - mean;
      square += (double)squares[b * l.cols] + count(b) * d * d;
    }
    l.offset[s * l.cols + c] = (float)mean;
    l.factor[s * l.cols + c] = (float)(1.0 / ::sqrt(square / (double)rows + a.eps));
  }
}

static void norm_row(const OpCall& call, const NormLayout& l, int64_t r) {
  int64_t s = 0;
  for (int64_t high = l.seqs; high - s > 1;) {
    const int64_t middle = (s + high) / 2;
    if (l.starts[middle] <= r)
      s = middle;
    else
      high = middle;
  }
  const float *x = (const float*)call.in[0].data + r * l.cols, *mean = l.offset + s * l.cols;
  const float *factor = l.factor + s * l.cols, *weight = (const float*)call.in[1].data;
  const float* bias = (const float*)call.in[2].data;
  float* y = (float*)call.out[0].data + r * l.cols;
  each_vec(l.cols, [=](int64_t c, int64_t lanes) {
    const Vec normed = mul(sub(load_part(x + c, lanes), load_part(mean + c, lanes)), load_part(factor + c, lanes));
    store_part(y + c, fma(normed, load_part(weight + c, lanes), load_part(bias + c, lanes)), lanes);
  });
}

static void group_norm_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const NormLayout l = norm_layout(call);
  const auto run = phase == 0 ? norm_block : phase == 1 ? norm_sequence : norm_row;
  for (int64_t i = begin; i < end; i++) run(call, l, i);
}

static const Kernel group_norm_kernel = {3, group_norm_tasks, group_norm_run, group_norm_workspace, group_norm_cost};

}  // namespace verdant::VERDANT_ISA
