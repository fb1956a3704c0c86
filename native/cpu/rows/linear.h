#include "cpu/dot/list.h"
#include "ops/linear.h"

namespace verdant::VERDANT_ISA {

// Up to three matrices share x: part p is in[1 + 2 p], its bias in[2 + 2 p], its result out[p].
// Phase 0: x in the forms that the segments of w want, in the workspace: bf16, and int8 with a scale for each 32 or 256
// and one `aux` table for each weight type. Tasks are rows.
// Phase 1: tasks are (part, segment, group of panels, block of rows), blocks of rows fastest so that a group stays in
// cache.
constexpr int64_t kLinearPanels = 4;
constexpr int64_t kLinearRows = 192;

// bf16 rows: zeros up to a multiple of 32, and 32 more, as rows a power of two apart would share few cache sets.
// Kernels may read (and ignore) rows up to a multiple of 16.
static inline int64_t bf16_whole(int64_t k) { return (k + 31) / 32 * 32; }
static inline int64_t bf16_stride(int64_t k) { return bf16_whole(k) + 32; }
static inline int64_t linear_row_blocks(int64_t rows) { return (rows + kLinearRows - 1) / kLinearRows; }
static inline int64_t linear_groups(const PanelSegment& s) {
  return (s.rows + kLinearPanels * kPanelRows - 1) / (kLinearPanels * kPanelRows);
}

static inline const PackedMatrix& linear_matrix(const OpCall& call, int32_t part) {
  return *(const PackedMatrix*)call.in[1 + 2 * part].data;
}
static inline Compute linear_compute(const OpCall& call, const PanelSegment& s) {
  return segment_compute(call.kernels, call.compute, s.type);
}

// Where the forms of x lie in the workspace; strides in elements, -1: not needed.
struct LinearForms {
  int64_t bf16, bytes;
  int64_t int8[2], scales[2], sums[2][kDTypeCount];  // [0]: scales for 32, [1]: for 256
};
static inline int64_t linear_take(int64_t& bytes, int64_t more) {
  const int64_t at = bytes;
  bytes += (more + 63) / 64 * 64;
  return at;
}
// Rows a power of two apart would share few cache sets. Kernels may read rows up to a multiple of 16, as of bf16.
static inline int64_t int8_stride(int64_t k) { return (k + 63) / 64 * 64 + 64; }
static inline bool needs_aux(const AuxForm& f) { return f.bias != 0 || f.minima != kNoMinima; }

static void linear_add_form(const OpCall& call, const PanelSegment& s, LinearForms& f) {
  const int64_t rows = call.in[0].dim[0], k = call.in[0].dim[1];
  const Compute compute = linear_compute(call, s);
  if (compute == kComputeBF16 && f.bf16 < 0) f.bf16 = linear_take(f.bytes, (rows + 15) * bf16_stride(k) * 2);
  if (compute != kComputeInt8_32 && compute != kComputeInt8_256) return;
  const int big = compute == kComputeInt8_256;
  if (f.int8[big] < 0) {
    f.int8[big] = linear_take(f.bytes, (rows + 15) * int8_stride(k));
    f.scales[big] = linear_take(f.bytes, rows * (k / (big ? 256 : 32)) * 4);
  }
  const AuxForm& aux = call.kernels->aux[s.type];
  if (needs_aux(aux) && f.sums[big][s.type] < 0) f.sums[big][s.type] = linear_take(f.bytes, rows * (k / aux.sub) * 4);
}

static LinearForms linear_forms(const OpCall& call) {
  LinearForms f;
  memset(&f, -1, sizeof f);
  f.bytes = 0;
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t i = 0; i < linear_matrix(call, p).segment_count; i++)
      linear_add_form(call, linear_matrix(call, p).segments[i], f);
  return f;
}

static int64_t linear_tasks(const OpCall& call, int32_t phase) {
  const int64_t rows = call.in[0].dim[0];
  if (phase == 0) return linear_forms(call).bytes > 0 ? rows : 0;
  int64_t groups = 0;
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t s = 0; s < linear_matrix(call, p).segment_count; s++)
      groups += linear_groups(linear_matrix(call, p).segments[s]);
  return groups * linear_row_blocks(rows);
}

static int64_t linear_workspace(const OpCall& call) { return linear_forms(call).bytes; }

static int64_t linear_cost(const OpCall& call) {
  int64_t columns = 0;
  for (int32_t p = 0; p < call.out_count; p++) columns += call.out[p].dim[1];
  return 2 * call.in[0].dim[0] * call.in[0].dim[1] * columns;
}

// The aux table of one chunk: `count` sums of 16 values.
static void linear_aux(const AuxForm& form, const int32_t* sums, const float* scales, int64_t block, int64_t count,
                       void* out) {
  const int64_t per = form.sub / 16;
  for (int64_t s = 0; s < count / per; s++) {
    const int32_t sum = per == 1 ? sums[s] : sums[2 * s] + sums[2 * s + 1];
    if (form.minima == kNoMinima)
      ((int32_t*)out)[s] = -form.bias * sum;
    else
      ((float*)out)[s] = form.minima == kScaledMinima ? scales[s * form.sub / block] * (float)sum : (float)sum;
  }
}

static void linear_int8_row(const OpCall& call, const LinearForms& f, int big, int64_t r) {
  const int64_t k = call.in[0].dim[1], block = big ? 256 : 32;
  const float* x = (const float*)call.in[0].data + r * k;
  int8_t* q = (int8_t*)(call.workspace + f.int8[big]) + r * int8_stride(k);
  float* scales = (float*)(call.workspace + f.scales[big]) + r * (k / block);
  int32_t sums[16];
  for (int64_t c = 0; c < k; c += 256) {
    const int64_t n = k - c < 256 ? k - c : 256;
    quantize_chunk(x + c, n, block, q + c, scales + c / block, sums);
    for (int32_t type = 0; type < kDTypeCount; type++) {
      if (f.sums[big][type] < 0) continue;
      const AuxForm& form = call.kernels->aux[type];
      int32_t* out = (int32_t*)(call.workspace + f.sums[big][type]) + (r * k + c) / form.sub;
      linear_aux(form, sums, scales + c / block, block, n / 16, out);
    }
  }
}

static void linear_round(const OpCall& call, int64_t begin, int64_t end) {
  const int64_t k = call.in[0].dim[1];
  const LinearForms f = linear_forms(call);
  for (int64_t r = begin; r < end; r++) {
    if (f.bf16 >= 0) {
      uint16_t* y = (uint16_t*)(call.workspace + f.bf16) + r * bf16_stride(k);
      call.kernels->to_bf16((const float*)call.in[0].data + r * k, y, k);
      memset(y + k, 0, (size_t)(bf16_whole(k) - k) * 2);
    }
    for (int big = 0; big < 2; big++)
      if (f.int8[big] >= 0) linear_int8_row(call, f, big, r);
  }
}

// x of a segment from row `row` on.
static void linear_x(const OpCall& call, const LinearForms& f, const PanelSegment& s, int64_t row, GemmArgs& g) {
  const int64_t k = call.in[0].dim[1];
  const Compute compute = linear_compute(call, s);
  g.x_scales = nullptr;
  g.x_aux = nullptr;
  g.x_scales_stride = g.x_aux_stride = 0;
  if (compute == kComputeInt8_32 || compute == kComputeInt8_256) {
    const int big = compute == kComputeInt8_256;
    const AuxForm& aux = call.kernels->aux[s.type];
    g.x_stride = int8_stride(k);
    g.x = (const int8_t*)(call.workspace + f.int8[big]) + row * g.x_stride;
    g.x_scales_stride = k / (big ? 256 : 32);
    g.x_scales = (const float*)(call.workspace + f.scales[big]) + row * g.x_scales_stride;
    if (!needs_aux(aux)) return;
    g.x_aux_stride = k / aux.sub;
    g.x_aux = (const int32_t*)(call.workspace + f.sums[big][s.type]) + row * g.x_aux_stride;
  } else if (compute == kComputeBF16) {
    g.x_stride = bf16_stride(k);
    g.x = (const uint16_t*)(call.workspace + f.bf16) + row * g.x_stride;
  } else {
    g.x_stride = k;
    g.x = (const float*)call.in[0].data + row * k;
  }
}

// Rows [row_begin, row_end) times groups [begin, end) of one segment.
static void linear_groups_run(const OpCall& call, const LinearForms& f, int32_t part, const PanelSegment& s,
                              int64_t begin, int64_t end, int64_t row_begin, int64_t row_end) {
  const int64_t n = call.out[part].dim[1], first = begin * kLinearPanels * kPanelRows;
  const int64_t last = end * kLinearPanels * kPanelRows, column = s.row_begin + first;
  GemmArgs g;
  linear_x(call, f, s, row_begin, g);
  g.m = row_end - row_begin;
  g.panels = s.data + begin * kLinearPanels * s.panel_bytes;
  g.panel_bytes = s.panel_bytes;
  g.n = (last < s.rows ? last : s.rows) - first;
  g.k = call.in[0].dim[1];
  g.y = (float*)call.out[part].data + row_begin * n + column;
  g.y_stride = n;
  const float* bias = (const float*)call.in[2 + 2 * part].data;
  g.bias = bias == nullptr ? nullptr : bias + column;
  const Compute compute = linear_compute(call, s);
  const bool many = (compute == kComputeInt8_32 || compute == kComputeInt8_256) && g.m >= call.kernels->int8_many_rows;
  const GemmFn kernel = many ? call.kernels->int8_many[s.type] : nullptr;
  (kernel != nullptr ? kernel : call.kernels->gemm[s.type][compute])(g);
}

static void linear_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  if (phase == 0) return linear_round(call, begin, end);
  const LinearForms f = linear_forms(call);
  const int64_t rows = call.in[0].dim[0], blocks = linear_row_blocks(rows);
  int64_t base = 0;  // tasks of the segments before
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t i = 0; i < linear_matrix(call, p).segment_count && base < end; i++) {
      const PanelSegment& s = linear_matrix(call, p).segments[i];
      const int64_t tasks = linear_groups(s) * blocks;
      const int64_t first = begin > base ? begin - base : 0, last = end - base < tasks ? end - base : tasks;
      base += tasks;
      if (blocks == 1) {  // neighbouring groups in one go
        if (first < last) linear_groups_run(call, f, p, s, first, last, 0, rows);
        continue;
      }
      for (int64_t t = first; t < last; t++) {
        const int64_t group = t / blocks, b = t % blocks;
        linear_groups_run(call, f, p, s, group, group + 1, b * rows / blocks, (b + 1) * rows / blocks);
      }
    }
}

static const Kernel linear_kernel = {2, linear_tasks, linear_run, linear_workspace, linear_cost, linear_run};

}  // namespace verdant::VERDANT_ISA
