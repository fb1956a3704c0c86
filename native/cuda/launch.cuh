// What kernels share: launching, warps, sums in a fixed order.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/memory.h"
#include "cuda/op.h"

namespace verdant::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarp = 32;

// kernel(args...) on a grid of clusters of `cluster` blocks with `shared` bytes of dynamic shared memory each, which
// may begin early where gpu.dependent_launch. Nothing where the grid is empty.
template <class... Params, class... Args>
void launch_clusters(void (*kernel)(Params...), dim3 grid, dim3 block, int64_t shared, unsigned cluster, const Gpu& gpu,
                     const Args&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#if defined(VERDANT_EMULATED)
  check(emulator::run(grid, block, static_cast<size_t>(shared), gpu.stream, [=] { kernel(Params(args)...); }, cluster));
#else
  if (shared > 48 << 10)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)));
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t config{};
  config.attrs = attributes;
  if (cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  }
  if (gpu.dependent_launch) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = gpu.stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...));
#endif
}
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, int64_t shared, const Gpu& gpu, const Args&... args) {
  launch_clusters(kernel, grid, block, shared, 1, gpu, args...);
}

// Every thread of every kernel calls this before it reads or writes device memory and before it returns. It lets the
// next kernel of the stream begin, as soon as all blocks of this one have come here and there is room, and waits until
// the kernels before have ended and what they wrote is seen. A kernel waits for the one before it only, which has ended
// when all its threads have waited in their turn: where one kernel did not wait, later ones could overtake it. Before
// the wait a kernel may prepare shared memory and look at weights, which no step writes.
//       PTX ISA 7.8: griddepcontrol
static __device__ __forceinline__ void wait_for_predecessors() {
#if defined(VERDANT_EMULATED)
  emulator::current->waited = true;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Blocks that `count` pieces of `size` fill.
static inline unsigned blocks_of(int64_t count, int64_t size) {
  return static_cast<unsigned>((count + size - 1) / size);
}

// VERDANT_DYNAMIC_SHARED_1024: begins at a multiple of 1024.
#if defined(VERDANT_EMULATED)
#define VERDANT_DYNAMIC_SHARED(name) uint8_t* name = verdant::emulator::dynamic_shared()
#define VERDANT_DYNAMIC_SHARED_1024(name) VERDANT_DYNAMIC_SHARED(name)
#else
#define VERDANT_DYNAMIC_SHARED(name)                         \
  extern __shared__ __align__(128) uint8_t verdant_shared[]; \
  uint8_t* name = verdant_shared
#define VERDANT_DYNAMIC_SHARED_1024(name)                          \
  extern __shared__ __align__(1024) uint8_t verdant_shared_1024[]; \
  uint8_t* name = verdant_shared_1024
#endif

static __device__ __forceinline__ int warp_lane() { return static_cast<int>(threadIdx.x % kWarp); }
static __device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / kWarp); }

// All lanes get the sum, in one tree whatever the values.
static __device__ __forceinline__ float warp_sum(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kAllLanes, x, lanes);
  return x;
}
static __device__ __forceinline__ double warp_sum(double x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kAllLanes, x, lanes);
  return x;
}
// NaN is not kept: see what uses it.
static __device__ __forceinline__ float warp_max(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, lanes));
  return x;
}

// Of a block of kThreads threads; all threads get the result. `scratch` holds kThreads / 32 numbers in shared memory
// and may be used again after the next __syncthreads.
template <int kThreads, class T>
static __device__ __forceinline__ T block_sum(T x, T* scratch) {
  x = warp_sum(x);
  if (warp_lane() == 0) scratch[warp_index()] = x;
  __syncthreads();
  T sum = scratch[0];
  for (int w = 1; w < kThreads / kWarp; w++) sum += scratch[w];
  return sum;
}
template <int kThreads>
static __device__ __forceinline__ float block_max(float x, float* scratch) {
  x = warp_max(x);
  if (warp_lane() == 0) scratch[warp_index()] = x;
  __syncthreads();
  float most = scratch[0];
  for (int w = 1; w < kThreads / kWarp; w++) most = fmaxf(most, scratch[w]);
  return most;
}

}  // namespace verdant::cuda
