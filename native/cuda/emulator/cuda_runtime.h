// The part of CUDA that native/cuda uses, on the CPU: kernels compile as C++ and run one thread of a block after the
// other, as fibers that meet at barriers and shuffles. For tests of what kernels compute; it says nothing of their
// speed, of the memory model, or of instructions that only a GPU has.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#define VERDANT_EMULATED 1

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__ __restrict
#define __grid_constant__

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Host side: as in the CUDA runtime, of one device whose work is done when a call returns.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorNotReady = 600
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaEventBlockingSync = 1,
                   cudaEventDefault = 0;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
  size_t sharedMemPerBlockOptin;
};
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct EmulatedStream;
struct EmulatedGraph;
struct EmulatedEvent;
using cudaStream_t = EmulatedStream*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
using cudaEvent_t = EmulatedEvent*;

const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);

namespace verdant::emulator {

// What a kernel's thread sees of itself.
struct ThreadState {
  dim3 thread, block;
  unsigned rank;  // of the block in its cluster
  bool waited;    // for the kernels before
};
extern thread_local ThreadState* current;
extern thread_local dim3 grid_size, block_size;
uint8_t* dynamic_shared();
// The same place of another block of the cluster.
uint8_t* shared_of(unsigned rank, const void* own);
// So many threads of the block at barrier `id` below 16, 0: all; all of the cluster; all of the warp that are named in
// `mask`.
void block_barrier(int id = 0, unsigned threads = 0);
void cluster_barrier();
void warp_barrier(unsigned mask);
// 64 bytes of each lane that the others may read between two warp barriers.
uint8_t* lane_slot(unsigned lane);

// Lets the others run, in a loop that waits for what one of them does; and what ends such a loop, or one elsewhere.
void pause();
void went_on();
// A copy that is done some time after this thread and the others have gone on.
void copy_later(std::function<void()> copy);
// A product or copy of a thread, done some time until the thread waits for it: in groups, of which `left` may be open.
void work_later(std::function<void()> work);
void close_work();
void finish_work(unsigned left);

// Work of a stream: done now, or when the graph that the stream captures is launched.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
// A kernel, `cluster` blocks at the same time.
cudaError_t run(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, std::function<void()> body,
                unsigned cluster = 1);

static inline unsigned lane_id() {
  const dim3 &t = current->thread, &b = block_size;
  return (t.x + b.x * (t.y + b.y * t.z)) % 32;
}

template <class T>
T exchange(unsigned mask, T value, unsigned from) {
  static_assert(sizeof(T) <= 64);
  std::memcpy(lane_slot(lane_id()), &value, sizeof value);
  warp_barrier(mask);
  T out;
  std::memcpy(&out, lane_slot(from), sizeof out);
  warp_barrier(mask);
  return out;
}

}  // namespace verdant::emulator

#define threadIdx (verdant::emulator::current->thread)
#define blockIdx (verdant::emulator::current->block)
#define blockDim (verdant::emulator::block_size)
#define gridDim (verdant::emulator::grid_size)

static inline void __syncthreads() { verdant::emulator::block_barrier(); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { verdant::emulator::warp_barrier(mask); }
static inline int __syncthreads_or(int predicate) {
  static int any;
  verdant::emulator::block_barrier();
  any = 0;
  verdant::emulator::block_barrier();
  if (predicate) any = 1;
  verdant::emulator::block_barrier();
  return any;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
  return verdant::emulator::exchange(mask, value, static_cast<unsigned>(from) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return verdant::emulator::exchange(mask, value, verdant::emulator::lane_id() ^ static_cast<unsigned>(lanes));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes) {
  const unsigned lane = verdant::emulator::lane_id();
  return verdant::emulator::exchange(mask, value, lane >= lanes ? lane - lanes : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes) {
  const unsigned lane = verdant::emulator::lane_id();
  return verdant::emulator::exchange(mask, value, lane + lanes < 32 ? lane + lanes : lane);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
  std::memcpy(verdant::emulator::lane_slot(verdant::emulator::lane_id()), &predicate, sizeof predicate);
  verdant::emulator::warp_barrier(mask);
  unsigned out = 0;
  for (unsigned lane = 0; lane < 32; lane++) {
    int told = 0;
    std::memcpy(&told, verdant::emulator::lane_slot(lane), sizeof told);
    if ((mask >> lane & 1) != 0 && told != 0) out |= 1u << lane;
  }
  verdant::emulator::warp_barrier(mask);
  return out;
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
static inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
static inline unsigned long long __float2ull_rn(float x) { return static_cast<unsigned long long>(std::rint(x)); }
static inline float __int_as_float(int x) {
  float f;
  std::memcpy(&f, &x, sizeof f);
  return f;
}
static inline int __float_as_int(float f) {
  int x;
  std::memcpy(&x, &f, sizeof x);
  return x;
}
static inline float __uint_as_float(unsigned x) { return __int_as_float(static_cast<int>(x)); }
static inline unsigned __float_as_uint(float f) { return static_cast<unsigned>(__float_as_int(f)); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
// Bytes of the eight in a (0 .. 3) and b (4 .. 7), picked by the low three bits of each nibble of `pick`.
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned pick) {
  const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
  unsigned out = 0;
  for (unsigned i = 0; i < 4; i++) out |= static_cast<unsigned>(both >> (8 * (pick >> (4 * i) & 7)) & 0xff) << (8 * i);
  return out;
}
// The lower half of (high : low) shifted right by the low five bits of `shift`.
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
template <class T, class U>
T atomicAdd(T* p, U value) {
  const T old = *p;
  *p = static_cast<T>(old + value);
  return old;
}
static inline unsigned atomicInc(unsigned* p, unsigned last) {
  const unsigned old = *p;
  *p = old >= last ? 0 : old + 1;
  return old;
}
template <class T, class U>
T atomicMax(T* p, U value) {
  const T old = *p;
  if (static_cast<T>(value) > old) *p = static_cast<T>(value);
  return old;
}
template <class T, class U>
T atomicExch(T* p, U value) {
  const T old = *p;
  *p = static_cast<T>(value);
  return old;
}
template <class T, class U>
T atomicOr(T* p, U value) {
  const T old = *p;
  *p = old | static_cast<T>(value);
  return old;
}
using std::max;
using std::min;
