#include <math.h>

#include "ops/embed.h"

namespace verdant::VERDANT_ISA {

static int64_t embed_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t embed_cost(const OpCall& call) { return call.in[0].dim[0] * call.out[0].dim[1]; }

static void embed_row(const OpCall& call, const PackedMatrix& table, int64_t id, float* y) {
  for (int32_t i = 0; i < table.segment_count; i++) {
    const PanelSegment& s = table.segments[i];
    const int64_t row = id - s.row_begin;
    if (row < 0 || row >= s.rows) continue;
    const uint8_t* panel = s.data + row / kPanelRows * s.panel_bytes;
    return call.kernels->decode_row[s.type](panel, row % kPanelRows, table.cols, y);
  }
  for (int64_t c = 0; c < table.cols; c++) y[c] = NAN;
}

static void embed_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const PackedMatrix& table = *(const PackedMatrix*)call.in[1].data;
  for (int64_t r = begin; r < end; r++)
    embed_row(call, table, ((const int32_t*)call.in[0].data)[r], (float*)call.out[0].data + r * table.cols);
}

static const Kernel embed_kernel = {1, embed_tasks, embed_run, nullptr, embed_cost, embed_run};

}  // namespace verdant::VERDANT_ISA
