// Whether two ways to multiply give the same bits on the GPU at hand.
#include <vector>

#include "cuda/agree.h"
#include "cuda/linear.h"
#include "cuda/weights.h"

namespace verdant::cuda {
namespace {

constexpr int64_t kRows = 200, kCols = 1120, kWeights = 330;  // an odd number of groups of columns in a slice

// y (kRows, kWeights) = x w^T.
std::vector<float> product(const DeviceBuffer& x, const DeviceMatrix& w, bool hopper, int32_t multiprocessors,
                           const Stream& stream) {
  OpCall call{};
  call.compute = kComputeBF16;
  const Gpu gpu{multiprocessors, 0, stream, hopper};
  RowSource source{};
  source.x = reinterpret_cast<const float*>(x.data());
  source.stride = kCols;
  source.rows = kRows;
  const DeviceMatrix* weights[] = {&w};
  const DeviceBuffer workspace(multiply_workspace(call, kRows, kCols, weights, 1)), y(kRows * kWeights * 4);
  const Product p = {&w, nullptr, reinterpret_cast<float*>(y.data()), kWeights};
  forget(y, stream);
  multiply(call, gpu, source, &p, 1, workspace.data());
  std::vector<float> out(static_cast<size_t>(kRows * kWeights));
  download(out, y, stream);
  return out;
}

}  // namespace

bool linear_agrees() {
  const Stream stream;
  Numbers numbers;
  std::vector<float> x(static_cast<size_t>(kRows * kCols)), w(static_cast<size_t>(kWeights * kCols));
  for (std::vector<float>* all : {&x, &w})
    for (float& v : *all) v = numbers.next();
  const DeviceBuffer rows = uploaded(x, stream), weights = uploaded(as_bf16(w), stream);
  const MatrixSegment segment = {kBF16, 0, kWeights, weights.data(), device_row_bytes(kBF16, kCols)};
  const DeviceMatrix matrix = {kWeights, kCols, 1, &segment};
  const std::vector<float> portable = product(rows, matrix, false, 1, stream);
  // Many multiprocessors: blocks share out the columns of a tile; one: it takes one tile after the other.
  return same_bits(product(rows, matrix, true, 1, stream), portable) &&
         same_bits(product(rows, matrix, true, 1000, stream), portable);
}

}  // namespace verdant::cuda
