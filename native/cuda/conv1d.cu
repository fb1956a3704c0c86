#include "ops/conv1d.h"

#include "cuda/linear_f32_many.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

constexpr int kConvX = 16;  // rows of y of a block of threads

// The rows of x under the first tap of a row of y (it may lie before the sequence), and the sequence's bounds.
struct ConvRow {
  int64_t base, begin, end;
};

// One thread per row of y: row t of its sequence begins at stride * t - padding.
static __global__ void conv_rows_kernel(const int32_t* starts, const int32_t* y_starts, int64_t sequences, int64_t rows,
                                        int64_t stride, int64_t padding, ConvRow* out) {
  wait_for_predecessors();
  const int64_t row = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const int64_t s = sequence_of(y_starts, sequences, row);
  const int64_t begin = starts[s];
  out[row] = {begin + stride * (row - y_starts[s]) - padding, begin, starts[s + 1]};
}

// Column k of the product is tap k / width, channel k % width of the group of output row n.
struct ConvSource {
  const float* x;
  const ConvRow* rows;
  int64_t channels, group_rows;
  int32_t width;
  struct Row {
    const float* x;
    ConvRow taps;
    int64_t channels;
    int32_t width;
    bool wide;
    __device__ __forceinline__ float column(int k) const {
      const int64_t row = taps.base + k / width;
      return row < taps.begin || row >= taps.end ? 0.0f : x[row * channels + k % width];
    }
    __device__ __forceinline__ float4 quad(int k, int cols) const {
      if (!wide)
        return make_float4(column(k), k + 1 < cols ? column(k + 1) : 0.0f, k + 2 < cols ? column(k + 2) : 0.0f,
                           k + 3 < cols ? column(k + 3) : 0.0f);
      const int64_t row = taps.base + k / width;
      if (row < taps.begin || row >= taps.end) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      return *reinterpret_cast<const float4*>(x + row * channels + k % width);
    }
  };
  __device__ __forceinline__ Row row(int64_t i, int64_t n) const {
    return {x + n / group_rows * width, rows[i], channels, width,
            channels % 4 == 0 && width % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0};
  }
  __device__ __forceinline__ float operator()(int64_t i, int64_t k, int64_t n) const {
    return row(i, n).column(static_cast<int>(k));
  }
};

static int64_t conv1d_workspace(const OpCall& call) {
  return call.out[0].dim[0] * static_cast<int64_t>(sizeof(ConvRow));
}

static void conv1d_run(const OpCall& call, const Gpu& gpu) {
  const auto& a = *static_cast<const Conv1dAttrs*>(call.attrs);
  const Tensor &x = call.in[0], &y = call.out[0];
  const auto& weight = *static_cast<const DeviceMatrix*>(call.in[1].data);
  auto* rows = reinterpret_cast<ConvRow*>(call.workspace);
  launch(conv_rows_kernel, blocks_of(y.dim[0], 128), 128, 0, gpu, static_cast<const int32_t*>(call.in[3].data),
         static_cast<const int32_t*>(call.in[4].data), call.in[3].dim[0] - 1, y.dim[0], a.stride, a.padding, rows);
  const int64_t group_rows = weight.rows / a.groups;
  const ConvSource conv = {static_cast<const float*>(x.data), rows, x.dim[1], group_rows,
                           static_cast<int32_t>(x.dim[1] / a.groups)};
  RowSource source{};
  source.rows = y.dim[0];
  source.group_rows = a.groups > 1 ? group_rows : 0;
  if (source.rows == 0) return;
  for (int32_t i = 0; i < weight.segment_count; i++) {
    const MatrixSegment& m = weight.segments[i];
    SegmentList s{};
    s.segment[s.count++] =
        segment_args(m, weight.cols, static_cast<const float*>(call.in[2].data), static_cast<float*>(y.data), y.dim[1]);
    with_weight_type(m.type, [&]<DType kType>() { launch_f32_rows<kType, kConvX>(s, source, conv, gpu); });
  }
}

extern const CudaOp conv1d_op;
const CudaOp conv1d_op = {conv1d_run, conv1d_workspace};

}  // namespace verdant::cuda
