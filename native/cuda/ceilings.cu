#include "cuda/ceilings.h"

#include <algorithm>
#include <vector>

#include "cuda/launch.cuh"
#include "cuda/numbers.cuh"

namespace verdant::cuda {
namespace {

constexpr int kThreads = 512, kBatch = 8;

// Every word once; the sum keeps the loads alive.
__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* data, int64_t count, unsigned* out) {
  wait_for_predecessors();
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

constexpr int kChains = 8;
#if defined(VERDANT_EMULATED)
constexpr int kTurns = 16;
#else
constexpr int kTurns = 1 << 14;
#endif

__global__ void __launch_bounds__(kThreads) fma_kernel(float x, float y, float* out) {
  wait_for_predecessors();
  float a[kChains];
#pragma unroll
  for (int i = 0; i < kChains; i++) a[i] = static_cast<float>(threadIdx.x + i);
  for (int t = 0; t < kTurns; t++)
#pragma unroll
    for (int i = 0; i < kChains; i++) a[i] = fmaf(a[i], x, y);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kChains; i++) sum += a[i];
  if (sum == 1.25e-30f) *out = sum;
}

__global__ void __launch_bounds__(kThreads) mma_kernel(uint32_t word, float* out) {
  wait_for_predecessors();
  const uint32_t a[4] = {word, word, word, word};
  float c[kChains][4] = {};
  for (int t = 0; t < kTurns / 4; t++)
#pragma unroll
    for (int i = 0; i < kChains; i++) mma(c[i], a, word, word + i);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kChains; i++) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
  if (sum == 1.25e-30f) *out = sum;
}

}  // namespace

double median_ms(const Stream& stream, int32_t runs, const std::function<void()>& enqueue) {
  const Event from, to;
  std::vector<double> times;
  for (int32_t i = -2; i < runs; i++) {
    check(cudaEventRecord(from, stream));
    enqueue();
    check(cudaEventRecord(to, stream));
    check(cudaEventSynchronize(to));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, from, to));
    if (i >= 0) times.push_back(static_cast<double>(ms));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

Bandwidth measure_bandwidth(int64_t bytes, int32_t multiprocessors) {
  const DeviceBuffer from(bytes), to(bytes);
  const Stream stream;
  check(cudaMemsetAsync(from.data(), 1, static_cast<size_t>(bytes), stream));
  const double copy = median_ms(stream, 20, [&] {
    check(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream));
  });
  const Gpu gpu{multiprocessors, 0, stream};
  const double read = median_ms(stream, 20, [&] {
    launch(read_kernel, dim3(static_cast<unsigned>(4 * multiprocessors)), dim3(kThreads), 0, gpu,
           reinterpret_cast<const uint4*>(from.data()), bytes / 16, reinterpret_cast<unsigned*>(to.data()));
  });
  return {2e3 * static_cast<double>(bytes) / copy, 1e3 * static_cast<double>(bytes) / read};
}

Arithmetic measure_arithmetic(int32_t multiprocessors) {
  const DeviceBuffer buffer(256);
  const Stream stream;
  const Gpu gpu{multiprocessors, 0, stream};
  auto* out = reinterpret_cast<float*>(buffer.data());
  const unsigned blocks = static_cast<unsigned>(4 * multiprocessors);
  const double f32 =
      median_ms(stream, 5, [&] { launch(fma_kernel, dim3(blocks), dim3(kThreads), 0, gpu, 0.5f, 0.25f, out); });
  const double bf16 =
      median_ms(stream, 5, [&] { launch(mma_kernel, dim3(blocks), dim3(kThreads), 0, gpu, 0x3f803f80u, out); });
  const double threads = static_cast<double>(blocks) * kThreads, turns = static_cast<double>(kTurns) * kChains;
  return {1e3 * 2 * turns * threads / f32, 1e3 * (2.0 * 16 * 8 * 16) * turns / 4 * threads / kWarp / bf16};
}

}  // namespace verdant::cuda
