// Device and pinned memory that frees itself; CUDA's errors as ours.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace verdant::cuda {

// Throws ERR_OUT_OF_MEMORY or ERR_DEVICE for anything but success.
void check(cudaError_t error);

// Memory of one kind, not zeroed. Kind: take(bytes), which throws ERR_OUT_OF_MEMORY; give_back(data); grown(wanted,
// had), bytes that reserve takes.
template <class Kind>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes) : data_(bytes == 0 ? nullptr : Kind::take(bytes)), bytes_(bytes) {}
  ~Buffer() {
    if (data_ != nullptr) Kind::give_back(data_);
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Makes room for at least `bytes`; true where the memory is another one than before. The content is lost then.
  bool reserve(int64_t bytes) {
    if (bytes <= bytes_) return false;
    const int64_t grown = Kind::grown(bytes, bytes_);
    *this = Buffer();  // the old memory goes first, so that both never exist at once
    *this = Buffer(grown);
    return true;
  }

 private:
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

struct DeviceMemory {
  static uint8_t* take(int64_t bytes);  // where there is too little, the error tells what is free
  static void give_back(uint8_t* data) { cudaFree(data); }
  static int64_t grown(int64_t wanted, int64_t) { return wanted; }
};
using DeviceBuffer = Buffer<DeviceMemory>;

// Host memory that copies to and from the device need not stage.
struct PinnedMemory {
  static uint8_t* take(int64_t bytes);
  static void give_back(uint8_t* data) { cudaFreeHost(data); }
  static int64_t grown(int64_t wanted, int64_t had) { return std::max(wanted, 2 * had); }
};
using PinnedBuffer = Buffer<PinnedMemory>;

// A stream of its own; waits for its work when it goes.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }
  void wait() const { check(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDefault) { check(cudaEventCreateWithFlags(&event_, flags)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace verdant::cuda
