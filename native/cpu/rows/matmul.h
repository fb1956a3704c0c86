#include "ops/matmul.h"

namespace verdant::VERDANT_ISA {

constexpr int64_t kMatmulRows = 96;
constexpr int64_t kMatmulPanels = 4;

struct MatmulShape {
  int64_t batch, m, n, k, panels;
};

static inline MatmulShape matmul_shape(const OpCall& call) {
  const Tensor &a = call.in[0], &y = call.out[0];
  MatmulShape s = {1, a.dim[a.rank - 2], y.dim[y.rank - 1], a.dim[a.rank - 1], 0};
  for (int32_t i = 0; i < a.rank - 2; i++) s.batch *= a.dim[i];
  s.panels = (s.n + kPanelRows - 1) / kPanelRows;
  return s;
}

// Phase 0: b as f32 panels [batch][panel][k][16] in the workspace. Phase 1: (batch, group of panels, block of rows).
static int64_t matmul_tasks(const OpCall& call, int32_t phase) {
  const MatmulShape s = matmul_shape(call);
  if (phase == 0) return s.m == 0 ? 0 : s.batch * s.panels;
  return s.batch * ((s.panels + kMatmulPanels - 1) / kMatmulPanels) * ((s.m + kMatmulRows - 1) / kMatmulRows);
}

static int64_t matmul_workspace(const OpCall& call) {
  const MatmulShape s = matmul_shape(call);
  return s.batch * s.panels * s.k * kPanelRows * (int64_t)sizeof(float);
}

static int64_t matmul_cost(const OpCall& call) {
  const MatmulShape s = matmul_shape(call);
  return 2 * s.batch * s.m * s.n * s.k;
}

static void matmul_pack(const OpCall& call, const MatmulShape& s, int64_t task) {
  const int64_t batch = task / s.panels, column = task % s.panels * kPanelRows;
  const float* b = (const float*)call.in[1].data + batch * s.n * s.k;
  float* panel = (float*)call.workspace + task * s.k * kPanelRows;
  if (((const MatmulAttrs*)call.attrs)->transpose_b == 0) {
    for (int64_t i = 0; i < s.k; i++) store(panel + i * 16, load_n(b + i * s.n + column, s.n - column));
    return;
  }
  for (int64_t lane = 0; lane < kPanelRows; lane++) {
    const bool there = column + lane < s.n;
    const float* row = b + (there ? column + lane : 0) * s.k;
    for (int64_t i = 0; i < s.k; i++) panel[i * 16 + lane] = there ? row[i] : 0.0f;
  }
}

static void matmul_run(const OpCall& call, int32_t phase, int64_t begin, int64_t end) {
  const MatmulShape s = matmul_shape(call);
  const int64_t groups = (s.panels + kMatmulPanels - 1) / kMatmulPanels;
  const int64_t blocks = (s.m + kMatmulRows - 1) / kMatmulRows;
  for (int64_t t = begin; t < end; t++) {
    if (phase == 0) {
      matmul_pack(call, s, t);
      continue;
    }
    const int64_t block = t % blocks, panel = t / blocks % groups * kMatmulPanels, batch = t / blocks / groups;
    const int64_t row = block * s.m / blocks, column = panel * kPanelRows;
    const int64_t width = kMatmulPanels * kPanelRows;
    GemmArgs g;
    g.m = (block + 1) * s.m / blocks - row;
    g.x = (const float*)call.in[0].data + (batch * s.m + row) * s.k;
    g.x_stride = s.k;
    g.panel_bytes = s.k * kPanelRows * (int64_t)sizeof(float);
    g.panels = call.workspace + (batch * s.panels + panel) * g.panel_bytes;
    g.n = s.n - column < width ? s.n - column : width;
    g.k = s.k;
    g.y = (float*)call.out[0].data + (batch * s.m + row) * s.n + column;
    g.y_stride = s.n;
    g.bias = nullptr;
    call.kernels->gemm[kF32][kComputeF32](g);
  }
}

static const Kernel matmul_kernel = {2, matmul_tasks, matmul_run, matmul_workspace, matmul_cost};

}  // namespace verdant::VERDANT_ISA
