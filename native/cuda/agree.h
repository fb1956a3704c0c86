// Numbers of one's own on the GPU, for kernels that are compared before they are used.
#pragma once
#include <cstring>
#include <vector>

#include "cuda/list.h"
#include "cuda/memory.h"

namespace verdant::cuda {

// Whether kernels of Hopper give the bits of the portable ones on the calling thread's GPU, for some rows.
bool linear_agrees();
bool codes_agree();
bool attention_agrees();
// Whether the kernels of few and of many rows do, for a way to multiply weights of a type, and Hopper's where they are
// used.
bool linear_rows_agree(DType type, Compute compute);

class Numbers {
 public:
  // Of both signs and many sizes.
  float next() { return near_one() * static_cast<float>(1 << bits() % 16) * 1e-2f; }
  float near_one() { return (static_cast<float>(bits() >> 8) - 8388608.0f) * 2.384185791015625e-7f; }  // within +-2

 private:
  uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  uint64_t state_ = 20;
};

static inline std::vector<uint16_t> as_bf16(const std::vector<float>& x) {
  std::vector<uint16_t> out(x.size());
  for (size_t i = 0; i < x.size(); i++) {
    uint32_t bits;
    std::memcpy(&bits, &x[i], sizeof bits);
    out[i] = static_cast<uint16_t>(bits >> 16);
  }
  return out;
}

template <class T>
DeviceBuffer uploaded(const std::vector<T>& values, const Stream& stream) {
  DeviceBuffer buffer(static_cast<int64_t>(values.size() * sizeof(T)));
  check(cudaMemcpyAsync(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream));
  stream.wait();
  return buffer;
}

// NaNs: what a kernel leaves out must not be found as the results of the one before, which may have lain there.
static inline void forget(const DeviceBuffer& results, const Stream& stream) {
  check(cudaMemsetAsync(results.data(), 0xff, static_cast<size_t>(results.bytes()), stream));
}

static inline void download(std::vector<float>& to, const DeviceBuffer& from, const Stream& stream) {
  check(cudaMemcpyAsync(to.data(), from.data(), to.size() * sizeof(float), cudaMemcpyDeviceToHost, stream));
  stream.wait();
}

static inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace verdant::cuda
