// Whether two ways to multiply give the same bits on the GPU at hand.
#include <vector>

#include "core/weight_types.h"
#include "cuda/agree.h"
#include "cuda/hopper.h"
#include "cuda/linear.h"
#include "cuda/weights.h"

namespace verdant::cuda {
namespace {

constexpr int64_t kRows = 200, kWeights = 330;

// y (kRows, kWeights) = x w^T.
std::vector<float> product(const DeviceBuffer& x, const DeviceMatrix& w, bool hopper, int32_t multiprocessors,
                           const Stream& stream) {
  OpCall call{};
  call.compute = kComputeBF16;
  const Gpu gpu{multiprocessors, 0, stream, hopper};
  RowSource source{};
  source.x = reinterpret_cast<const float*>(x.data());
  source.stride = w.cols;
  source.rows = kRows;
  const DeviceMatrix* weights[] = {&w};
  const DeviceBuffer workspace(multiply_workspace(call, kRows, w.cols, weights, 1)), y(kRows * kWeights * 4);
  const Product p = {&w, nullptr, reinterpret_cast<float*>(y.data()), kWeights};
  forget(y, stream);
  multiply(call, gpu, source, &p, 1, workspace.data());
  std::vector<float> out(static_cast<size_t>(kRows * kWeights));
  download(out, y, stream);
  return out;
}

// Whether the kernel of few rows, which a GPU of many multiprocessors takes, gives the bits of that of many rows, and
// those of Hopper theirs, where `hopper`.
bool agrees(DType type, int64_t cols, bool hopper) {
  const Stream stream;
  Numbers numbers;
  std::vector<float> x(static_cast<size_t>(kRows * cols)), w(static_cast<size_t>(kWeights * cols));
  for (std::vector<float>* all : {&x, &w})
    for (float& v : *all) v = numbers.next();
  const int64_t stored = row_bytes(type, cols), bytes = device_row_bytes(type, cols);
  std::vector<uint8_t> row(static_cast<size_t>(stored)), arranged(static_cast<size_t>(kWeights * bytes));
  for (int64_t r = 0; r < kWeights; r++) {
    encode_from_f32(type, w.data() + r * cols, cols, row.data());
    arrange_row(type, row.data(), cols, arranged.data() + r * bytes);
  }
  const DeviceBuffer rows = uploaded(x, stream), weights = uploaded(arranged, stream);
  const MatrixSegment segment = {type, 0, kWeights, weights.data(), bytes};
  const DeviceMatrix matrix = {kWeights, cols, 1, &segment};
  const std::vector<float> many = product(rows, matrix, false, 1, stream);
  if (!same_bits(product(rows, matrix, false, 1000, stream), many)) return false;
  // Many multiprocessors: blocks share out the columns of a tile; one: it takes one tile after the other.
  return !hopper || (same_bits(product(rows, matrix, true, 1, stream), many) &&
                     same_bits(product(rows, matrix, true, 1000, stream), many));
}

int64_t some_columns(DType type) {  // an odd number of groups in a slice, where blocks allow that
  return weight_type(type).block == 256 ? 1280 : 1120;
}

}  // namespace

bool linear_agrees() {
  for (const DType type : {kBF16, kQ8_0, kQ4_K, kQ6_K})
    if (!agrees(type, some_columns(type), true)) return false;
  return true;
}

bool linear_rows_agree(DType type) { return agrees(type, some_columns(type), hopper_kernels()); }

}  // namespace verdant::cuda
