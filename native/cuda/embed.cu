#include "ops/embed.h"

#include "cuda/fragments.cuh"
#include "cuda/linear_args.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

// Eight weights of a row of the segment that holds its id: lane t of group j. `outside`: this segment also answers ids
// that no segment holds, with NaN.
template <DType kType>
struct EmbedPart {
  const int32_t* ids;
  SegmentArgs s;
  float* y;
  int64_t table_rows, groups;
  bool outside;

  __device__ void put(int64_t row, int64_t column, float value) const {
    if (column < s.cols) y[row * s.cols + column] = value;
  }
  __device__ void operator()(int64_t i) const {
    const int64_t row = i / (4 * groups), j = i / 4 % groups, id = ids[row], at = id - s.row_begin;
    const int t = static_cast<int>(i % 4);
    if (id < 0 || id >= table_rows) {
      for (int k = 0; outside && k < 8; k++) put(row, j * kGroup + 8 * t + k, NAN);
      return;
    }
    if (at < 0 || at >= s.rows) return;
    const uint8_t* w_row = weight_row(s, static_cast<int32_t>(at));
    if constexpr (!has_scales(kType)) {
      for (int k = 0; k < 8; k++) {
        const int64_t column = j * kGroup + 8 * t + k;
        if (column < s.cols) put(row, column, plain_weight<kType>(w_row, column));
      }
    } else {
      float w[8];
      decode_lane<kType>(w_row, s.units, static_cast<int>(j), t, w);
      for (int k = 0; k < 8; k++) put(row, j * kGroup + lane_column(t, k), w[k]);
    }
  }
};

static void embed_run(const OpCall& call, const Gpu& gpu) {
  const auto& table = *static_cast<const DeviceMatrix*>(call.in[1].data);
  const int64_t groups = (table.cols + kGroup - 1) / kGroup;
  for (int32_t i = 0; i < table.segment_count; i++) {
    const MatrixSegment& m = table.segments[i];
    const SegmentArgs s = segment_args(m, table.cols, nullptr, float_output(call), table.cols);
    with_weight_type(m.type, [&]<DType kType>() {
      each(call.in[0].dim[0] * groups * 4, gpu,
           EmbedPart<kType>{int_input(call, 0), s, float_output(call), table.rows, groups, i == 0});
    });
  }
}

extern const CudaOp embed_op;
const CudaOp embed_op = {embed_run};

}  // namespace verdant::cuda
