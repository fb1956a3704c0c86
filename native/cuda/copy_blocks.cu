#include "ops/copy_blocks.h"

#include "cuda/rows.cuh"
#include "ops/kv_write.h"

namespace verdant::cuda {

constexpr int kCopyThreads = 256;
constexpr int64_t kCopyBytes = 64 << 10;  // of a block of threads

// Piece `blockIdx.y` of a copy. A copy that names a block outside the state does nothing.
template <class Word>
static __global__ void copy_blocks_kernel(uint8_t* state, const int32_t* copies, int64_t blocks, int64_t bytes) {
  wait_for_predecessors();
  const int64_t from = copies[2 * blockIdx.x], to = copies[2 * blockIdx.x + 1];
  if (from < 0 || from >= blocks || to < 0 || to >= blocks || from == to) return;
  const int64_t words = bytes / static_cast<int64_t>(sizeof(Word)),
                per = kCopyBytes / static_cast<int64_t>(sizeof(Word));
  const int64_t begin = blockIdx.y * per, end = begin + per < words ? begin + per : words;
  const auto* source = reinterpret_cast<const Word*>(state + from * bytes);
  auto* target = reinterpret_cast<Word*>(state + to * bytes);
  for (int64_t i = begin + threadIdx.x; i < end; i += kCopyThreads) target[i] = source[i];
}

static void copy_blocks_run(const OpCall& call, const Gpu& gpu) {
  const Tensor& state = call.in[0];
  const int64_t bytes = kv_element_bytes(state.dtype) * state.dim[1];
  const dim3 grid(static_cast<unsigned>(call.in[1].dim[0]), blocks_of(bytes, kCopyBytes));
  launch(bytes % 16 == 0 ? copy_blocks_kernel<uint4> : copy_blocks_kernel<uint8_t>, grid, kCopyThreads, 0, gpu,
         static_cast<uint8_t*>(state.data), int_input(call, 1), state.dim[0], bytes);
}

extern const CudaOp copy_blocks_op;
const CudaOp copy_blocks_op = {copy_blocks_run};

}  // namespace verdant::cuda
