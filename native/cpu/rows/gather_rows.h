#include "ops/gather_rows.h"

namespace verdant::VERDANT_ISA {

static int64_t gather_rows_tasks(const OpCall& call, int32_t) { return call.out[0].dim[0]; }

static int64_t gather_rows_cost(const OpCall& call) { return call.out[0].dim[0] * call.out[0].dim[1]; }

static void gather_rows_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t rows = call.in[0].dim[0], cols = call.in[0].dim[1];
  if (cols == 0) return;
  const int32_t* index = (const int32_t*)call.in[1].data;
  for (int64_t i = begin; i < end; i++) {
    float* y = (float*)call.out[0].data + i * cols;
    if (index[i] < 0 || index[i] >= rows) {
      for (int64_t c = 0; c < cols; c++) y[c] = NAN;
      continue;
    }
    memcpy(y, (const float*)call.in[0].data + index[i] * cols, sizeof(float) * (size_t)cols);
  }
}

static const Kernel gather_rows_kernel = {1, gather_rows_tasks, gather_rows_run, nullptr, gather_rows_cost};

}  // namespace verdant::VERDANT_ISA
