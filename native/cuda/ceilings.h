// What the GPU can do at most, measured in the same run as what it is compared with.
#pragma once
#include <cstdint>
#include <functional>

#include "cuda/memory.h"

namespace verdant::cuda {

// Median milliseconds of what `enqueue` puts on the stream, over events; after two runs that do not count.
double median_ms(const Stream& stream, int32_t runs, const std::function<void()>& enqueue);

struct Bandwidth {
  double copy, read;  // bytes per second; a copy reads and writes
};
Bandwidth measure_bandwidth(int64_t bytes, int32_t multiprocessors);

// Operations per second with everything in registers, a multiplication with its addition counted as two; bf16: of
// mma.sync, which wgmma is above.
struct Arithmetic {
  double f32, bf16;
};
Arithmetic measure_arithmetic(int32_t multiprocessors);

}  // namespace verdant::cuda
