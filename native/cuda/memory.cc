#include "cuda/memory.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace verdant::cuda {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stay is over once it was told
  if (error == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", "the GPU is out of memory");
  throw Error("ERR_DEVICE", std::string("CUDA: ") + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

DeviceBuffer::DeviceBuffer(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
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
  data_ = static_cast<uint8_t*>(p);
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFree(data_);
}

bool DeviceBuffer::reserve(int64_t bytes) {
  if (bytes <= bytes_) return false;
  *this = DeviceBuffer();  // the old memory goes first, so that both never exist at once
  *this = DeviceBuffer(bytes);
  return true;
}

PinnedBuffer::PinnedBuffer(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* p = nullptr;
  const cudaError_t error = cudaMallocHost(&p, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error("ERR_OUT_OF_MEMORY", "cannot allocate " + std::to_string(bytes) + " bytes of pinned memory");
  }
  check(error);
  data_ = static_cast<uint8_t*>(p);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

bool PinnedBuffer::reserve(int64_t bytes) {
  if (bytes <= bytes_) return false;
  const int64_t grown = std::max(bytes, 2 * bytes_);
  *this = PinnedBuffer();
  *this = PinnedBuffer(grown);
  return true;
}

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

Stream::~Stream() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

}  // namespace verdant::cuda
