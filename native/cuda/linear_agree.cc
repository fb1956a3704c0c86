// Whether two ways to multiply give the same bits on the GPU at hand.
#include <cstring>
#include <string>
#include <vector>

#include "cuda/linear.h"
#include "cuda/memory.h"
#include "cuda/weights.h"

namespace verdant::cuda {
namespace {

constexpr int64_t kRows = 200, kCols = 1120, kWeights = 330;  // an odd number of groups of columns in a slice

// Numbers of both signs and many sizes.
class Numbers {
 public:
  float next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto high = static_cast<uint32_t>(state_ >> 32);
    return (static_cast<float>(high >> 8) - 8388608.0f) * static_cast<float>(1 << high % 16) * 1e-9f;
  }

 private:
  uint64_t state_ = 20;
};

template <class T>
DeviceBuffer uploaded(const std::vector<T>& values, const Stream& stream) {
  DeviceBuffer buffer(static_cast<int64_t>(values.size() * sizeof(T)));
  check(cudaMemcpyAsync(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream));
  stream.wait();
  return buffer;
}

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
  multiply(call, gpu, source, &p, 1, workspace.data());
  std::vector<float> out(static_cast<size_t>(kRows * kWeights));
  check(cudaMemcpyAsync(out.data(), y.data(), out.size() * 4, cudaMemcpyDeviceToHost, stream));
  stream.wait();
  return out;
}

}  // namespace

bool hopper_agrees() {
  const Stream stream;
  Numbers numbers;
  std::vector<float> x(static_cast<size_t>(kRows * kCols));
  for (float& v : x) v = numbers.next();
  std::vector<uint16_t> w(static_cast<size_t>(kWeights * kCols));
  for (uint16_t& v : w) {
    const float number = numbers.next();
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    v = static_cast<uint16_t>(bits >> 16);
  }
  const DeviceBuffer rows = uploaded(x, stream), weights = uploaded(w, stream);
  const MatrixSegment segment = {kBF16, 0, kWeights, weights.data(), device_row_bytes(kBF16, kCols)};
  const DeviceMatrix matrix = {kWeights, kCols, 1, &segment};
  const std::vector<float> portable = product(rows, matrix, false, 1, stream);
  // Many multiprocessors: blocks share out the columns of a tile; one: it takes one tile after the other.
  for (const int32_t multiprocessors : {1, 1000}) {
    const std::vector<float> own = product(rows, matrix, true, multiprocessors, stream);
    if (std::memcmp(own.data(), portable.data(), own.size() * 4) != 0) return false;
  }
  return true;
}

}  // namespace verdant::cuda
