#include "cuda/check/ceilings.h"

#include <algorithm>
#include <vector>

#include "cuda/launch.cuh"

namespace verdant::check {
namespace {

constexpr int kThreads = 512, kBatch = 8;

// Every word once; the sum keeps the loads alive.
__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* data, int64_t count, unsigned* out) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  unsigned sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride * kBatch) {
    uint4 words[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; b++) words[b] = i + b * stride < count ? data[i + b * stride] : uint4{0, 0, 0, 0};
#pragma unroll
    for (int b = 0; b < kBatch; b++) sum += words[b].x ^ words[b].y ^ words[b].z ^ words[b].w;
  }
  if (sum == 0x9e3779b9u) *out = sum;
}

}  // namespace

double median_ms(const cuda::Stream& stream, int32_t runs, const std::function<void()>& enqueue) {
  const cuda::Event from, to;
  std::vector<double> times;
  for (int32_t i = -2; i < runs; i++) {
    cuda::check(cudaEventRecord(from, stream));
    enqueue();
    cuda::check(cudaEventRecord(to, stream));
    cuda::check(cudaEventSynchronize(to));
    float ms = 0;
    cuda::check(cudaEventElapsedTime(&ms, from, to));
    if (i >= 0) times.push_back(static_cast<double>(ms));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

Bandwidth measure_bandwidth(int64_t bytes, int32_t multiprocessors) {
  const cuda::DeviceBuffer from(bytes), to(bytes);
  const cuda::Stream stream;
  cuda::check(cudaMemsetAsync(from.data(), 1, static_cast<size_t>(bytes), stream));
  const double copy = median_ms(stream, 20, [&] {
    cuda::check(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream));
  });
  const cuda::Gpu gpu{multiprocessors, 0, stream};
  const double read = median_ms(stream, 20, [&] {
    cuda::launch(read_kernel, dim3(static_cast<unsigned>(4 * multiprocessors)), dim3(kThreads), 0, gpu,
                 reinterpret_cast<const uint4*>(from.data()), bytes / 16, reinterpret_cast<unsigned*>(to.data()));
  });
  return {2e3 * static_cast<double>(bytes) / copy, 1e3 * static_cast<double>(bytes) / read};
}

}  // namespace verdant::check
