// Between the decode steps of one call: what was sampled becomes the next step's input, on the device.
#pragma once
#include "cuda/op.h"

namespace verdant::cuda {

constexpr int32_t kMaxIncrements = 8;

// Device pointers. status (k, samples), as Step::status: 0 goes on, 1 stopped at this step, 2 had stopped, 3 NaN.
struct LoopStep {
  int64_t samples;
  const int32_t* ids;
  int32_t* next_ids;
  const int32_t* stop_offsets;
  const int32_t* stop_ids;
  int32_t* remaining;
  int32_t* increments[kMaxIncrements];
  int32_t increment_count;
  int32_t* status;
  int32_t iteration;
  bool last;  // no step follows
};

void advance_loop(const LoopStep& step, const Gpu& gpu);

}  // namespace verdant::cuda
