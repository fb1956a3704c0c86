#include "cpu/dot/list.h"

namespace verdant::VERDANT_ISA {

// Rows of x in the forms that the segments of packed matrices want: f32 as they are, bf16, and int8 with a scale for
// each 32 or 256 and one `aux` table for each weight type. Made in the workspace, one row at a time.
constexpr int64_t kFormRows = 192;  // rows that pass a group of panels in one go: their forms stay in cache

// Where the forms of x (rows, k) lie in the workspace; strides in elements, -1: not needed.
struct RowForms {
  int64_t rows, k;
  int64_t bf16, int8[2], scales[2], sums[2][kDTypeCount];  // [0]: scales for 32, [1]: for 256
  bool f32;                                                // some segment takes x as it is
};

static inline int64_t take_bytes(int64_t& bytes, int64_t more) {
  const int64_t at = bytes;
  bytes += (more + 63) / 64 * 64;
  return at;
}
static inline int64_t row_blocks(int64_t rows) { return (rows + kFormRows - 1) / kFormRows; }

// bf16 rows: zeros up to a multiple of 32, and 32 more, as rows a power of two apart would share few cache sets.
// Kernels may read (and ignore) rows up to a multiple of 16.
static inline int64_t bf16_whole(int64_t k) { return (k + 31) / 32 * 32; }
static inline int64_t bf16_stride(int64_t k) { return bf16_whole(k) + 32; }
// Rows a power of two apart would share few cache sets. Kernels may read rows up to a multiple of 16, as of bf16.
static inline int64_t int8_stride(int64_t k) { return (k + 63) / 64 * 64 + 64; }
static inline bool needs_aux(const AuxForm& f) { return f.bias != 0 || f.minima != kNoMinima; }

static inline Compute compute_of(const OpCall& call, const PanelSegment& s) {
  return segment_compute(call.kernels, call.compute, s.type);
}

static RowForms no_forms(int64_t rows, int64_t k) {
  RowForms f;
  memset(&f, -1, sizeof f);
  f.rows = rows;
  f.k = k;
  f.f32 = false;
  return f;
}

static void add_form(const OpCall& call, const PanelSegment& s, RowForms& f, int64_t& bytes) {
  const Compute compute = compute_of(call, s);
  if (compute == kComputeF32) f.f32 = true;
  if (compute == kComputeBF16 && f.bf16 < 0) f.bf16 = take_bytes(bytes, (f.rows + 15) * bf16_stride(f.k) * 2);
  if (compute != kComputeInt8_32 && compute != kComputeInt8_256) return;
  const int big = compute == kComputeInt8_256;
  if (f.int8[big] < 0) {
    f.int8[big] = take_bytes(bytes, (f.rows + 15) * int8_stride(f.k));
    f.scales[big] = take_bytes(bytes, f.rows * (f.k / (big ? 256 : 32)) * 4);
  }
  const AuxForm& aux = call.kernels->aux[s.type];
  if (needs_aux(aux) && f.sums[big][s.type] < 0) f.sums[big][s.type] = take_bytes(bytes, f.rows * (f.k / aux.sub) * 4);
}

static void add_forms(const OpCall& call, const PackedMatrix& w, RowForms& f, int64_t& bytes) {
  for (int32_t i = 0; i < w.segment_count; i++) add_form(call, w.segments[i], f, bytes);
}

// The aux table of one chunk: `count` sums of 16 values.
static void aux_of_chunk(const AuxForm& form, const int32_t* sums, const float* scales, int64_t block, int64_t count,
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

static void round_row_int8(const OpCall& call, const RowForms& f, int big, const float* x, int64_t r) {
  const int64_t k = f.k, block = big ? 256 : 32;
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
      aux_of_chunk(form, sums, scales + c / block, block, n / 16, out);
    }
  }
}

// All forms of row r, from x (k).
static void round_row(const OpCall& call, const RowForms& f, const float* x, int64_t r) {
  if (f.bf16 >= 0) {
    uint16_t* y = (uint16_t*)(call.workspace + f.bf16) + r * bf16_stride(f.k);
    call.kernels->to_bf16(x, y, f.k);
    memset(y + f.k, 0, (size_t)(bf16_whole(f.k) - f.k) * 2);
  }
  for (int big = 0; big < 2; big++)
    if (f.int8[big] >= 0) round_row_int8(call, f, big, x, r);
}

// The forms of row `from` for row `to` as well.
static void copy_form_row(const OpCall& call, const RowForms& f, int64_t from, int64_t to) {
  const auto copy = [&](int64_t at, int64_t stride, int64_t bytes) {
    if (at >= 0) memcpy(call.workspace + at + to * stride, call.workspace + at + from * stride, (size_t)bytes);
  };
  copy(f.bf16, bf16_stride(f.k) * 2, bf16_whole(f.k) * 2);
  for (int big = 0; big < 2; big++) {
    const int64_t scales = f.k / (big ? 256 : 32) * 4;
    copy(f.int8[big], int8_stride(f.k), f.k);
    copy(f.scales[big], scales, scales);
    for (int32_t type = 0; type < kDTypeCount; type++) {
      const int64_t sums = f.sums[big][type] < 0 ? 0 : f.k / call.kernels->aux[type].sub * 4;
      copy(f.sums[big][type], sums, sums);
    }
  }
}

// x of a segment from row `row` on; `x` and its stride: the floats of row 0.
static void form_rows(const OpCall& call, const RowForms& f, const PanelSegment& s, const float* x, int64_t x_stride,
                      int64_t row, GemmArgs& g) {
  const Compute compute = compute_of(call, s);
  g.k = f.k;
  g.x_scales = nullptr;
  g.x_aux = nullptr;
  g.x_scales_stride = g.x_aux_stride = 0;
  if (compute == kComputeInt8_32 || compute == kComputeInt8_256) {
    const int big = compute == kComputeInt8_256;
    const AuxForm& aux = call.kernels->aux[s.type];
    g.x_stride = int8_stride(f.k);
    g.x = (const int8_t*)(call.workspace + f.int8[big]) + row * g.x_stride;
    g.x_scales_stride = f.k / (big ? 256 : 32);
    g.x_scales = (const float*)(call.workspace + f.scales[big]) + row * g.x_scales_stride;
    if (!needs_aux(aux)) return;
    g.x_aux_stride = f.k / aux.sub;
    g.x_aux = (const int32_t*)(call.workspace + f.sums[big][s.type]) + row * g.x_aux_stride;
  } else if (compute == kComputeBF16) {
    g.x_stride = bf16_stride(f.k);
    g.x = (const uint16_t*)(call.workspace + f.bf16) + row * g.x_stride;
  } else {
    g.x_stride = x_stride;
    g.x = x + row * x_stride;
  }
}

// The product that `g` describes with panels of a segment.
static void multiply_rows(const OpCall& call, const PanelSegment& s, const GemmArgs& g) {
  const Compute compute = compute_of(call, s);
  const bool many = (compute == kComputeInt8_32 || compute == kComputeInt8_256) && g.m >= call.kernels->int8_many_rows;
  const GemmFn kernel = many ? call.kernels->int8_many[s.type] : nullptr;
  (kernel != nullptr ? kernel : call.kernels->gemm[s.type][compute])(g);
}

}  // namespace verdant::VERDANT_ISA
