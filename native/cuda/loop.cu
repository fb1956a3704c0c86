#include "cuda/loop.h"

#include "cuda/launch.cuh"

namespace verdant::cuda {

// One thread per sample; a sample's row is its number (k above 1 needs one row per sequence).
static __global__ void loop_kernel(LoopStep step) {
  wait_for_predecessors();
  const int64_t s = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (s >= step.samples) return;
  int32_t* const status = step.status + step.iteration * step.samples + s;
  const int32_t id = step.ids[s];
  if (step.iteration > 0 && status[-step.samples] != 0) {
    *status = 2;
  } else if (id < 0) {
    *status = 3;
  } else {
    step.remaining[s]--;
    bool stop = step.remaining[s] <= 0;
    for (int32_t i = step.stop_offsets[s]; i < step.stop_offsets[s + 1]; i++) stop = stop || step.stop_ids[i] == id;
    *status = stop ? 1 : 0;
  }
  if (*status != 0 || step.last) return;
  step.next_ids[s] = id;
  for (int32_t i = 0; i < step.increment_count; i++) step.increments[i][s]++;
}

void advance_loop(const LoopStep& step, const Gpu& gpu) {
  launch(loop_kernel, blocks_of(step.samples, 128), 128, 0, gpu, step);
}

}  // namespace verdant::cuda
