// What the GPU can do at most, measured in the same run as what it is compared with.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "cuda/memory.h"

namespace verdant::check {

// Median milliseconds of what `enqueue` puts on the stream, over events; after two runs that do not count.
double median_ms(const cuda::Stream& stream, int32_t runs, const std::function<void()>& enqueue);

struct Bandwidth {
  double copy, read;  // bytes per second; a copy reads and writes
};
Bandwidth measure_bandwidth(int64_t bytes, int32_t multiprocessors);

// Operations per second of cuBLASLt's bf16 product of random (n, n) matrices, f32 sums; 0 and `why` where there is
// none.
double measure_cublaslt(int64_t n, std::string& why);

}  // namespace verdant::check
