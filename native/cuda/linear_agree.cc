// Whether two ways to multiply give the same bits on the GPU at hand.
#include <algorithm>
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
std::vector<float> product(const DeviceBuffer& x, const DeviceMatrix& w, Compute compute, HopperKernels hopper,
                           int32_t multiprocessors, const Stream& stream) {
  OpCall call{};
  call.compute = compute;
  const Gpu gpu{multiprocessors, 0, stream, hopper};
  RowSource source{};
  source.x = reinterpret_cast<const float*>(x.data());
  source.stride = w.cols;
  source.rows = kRows;
  const DeviceMatrix* weights[] = {&w};
  const DeviceBuffer workspace(std::max<int64_t>(multiply_workspace(call, kRows, w.cols, weights, 1), 256)),
      y(kRows * kWeights * 4);
  const Product p = {&w, nullptr, reinterpret_cast<float*>(y.data()), kWeights};
  forget(y, stream);
  multiply(call, gpu, source, &p, 1, workspace.data());
  std::vector<float> out(static_cast<size_t>(kRows * kWeights));
  download(out, y, stream);
  return out;
}

// Whether the kernels of few rows, which a GPU of many multiprocessors takes, give the bits of those of many rows, and
// those of `hopper` theirs.
bool agrees(DType type, Compute compute, HopperKernels hopper) {
  const Stream stream;
  Numbers numbers;
  const int64_t cols = weight_type(type).block == 256 ? 1280 : 1120;  // an odd number of groups in a slice, or of units
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
  const auto y = [&](HopperKernels kernels, int32_t multiprocessors) {
    return product(rows, matrix, compute, kernels, multiprocessors, stream);
  };
  const std::vector<float> many = y({}, 1);
  for (const int32_t multiprocessors : {40, 1000})
    if (!same_bits(y({}, multiprocessors), many)) return false;
  // Many multiprocessors: blocks share out the columns of a tile; one: it takes one tile after the other.
  return same_bits(y(hopper, 1), many) && same_bits(y(hopper, 1000), many);
}

}  // namespace

bool linear_agrees() { return agrees(kBF16, kComputeBF16, {true, false, false}); }

bool codes_agree() {
  for (const DType type : {kQ8_0, kQ4_K, kQ6_K})
    if (!agrees(type, kComputeBF16, {false, true, false})) return false;
  return true;
}

bool linear_rows_agree(DType type, Compute compute) { return agrees(type, compute, hopper_kernels()); }

}  // namespace verdant::cuda
