#include "cuda/memory.h"

#include <string>

#include "core/error.h"

namespace verdant::cuda {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stay is over once it was told
  if (error == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", "the GPU is out of memory");
  throw Error("ERR_DEVICE", std::string("CUDA: ") + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

uint8_t* DeviceMemory::take(int64_t bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total));
    throw Error("ERR_OUT_OF_MEMORY", "cannot allocate " + std::to_string(bytes) + " bytes on the GPU: " +
                                         std::to_string(free) + " of " + std::to_string(total) + " are free");
  }
  check(error);
  return static_cast<uint8_t*>(p);
}

uint8_t* PinnedMemory::take(int64_t bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMallocHost(&p, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error("ERR_OUT_OF_MEMORY", "cannot allocate " + std::to_string(bytes) + " bytes of pinned memory");
  }
  check(error);
  return static_cast<uint8_t*>(p);
}

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

Stream::~Stream() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

}  // namespace verdant::cuda
