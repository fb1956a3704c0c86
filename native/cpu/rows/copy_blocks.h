#include "ops/copy_blocks.h"
#include "ops/kv_write.h"

namespace verdant::VERDANT_ISA {

static int64_t copy_blocks_tasks(const OpCall& call, int32_t) { return call.in[1].dim[0]; }

static int64_t copy_blocks_cost(const OpCall& call) { return call.in[1].dim[0] * call.in[0].dim[1]; }

// A copy that names a block outside the state does nothing: the caller checks, memory stays safe.
static void copy_blocks_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t blocks = call.in[0].dim[0];
  const size_t bytes = (size_t)(kv_element_bytes(call.in[0].dtype) * call.in[0].dim[1]);
  uint8_t* state = (uint8_t*)call.in[0].data;
  for (int64_t i = begin; i < end; i++) {
    const int32_t* pair = (const int32_t*)call.in[1].data + 2 * i;
    const int64_t from = pair[0], to = pair[1];
    if (from < 0 || from >= blocks || to < 0 || to >= blocks || from == to || bytes == 0) continue;
    memcpy(state + (size_t)to * bytes, state + (size_t)from * bytes, bytes);
  }
}

static const Kernel copy_blocks_kernel = {1, copy_blocks_tasks, copy_blocks_run, nullptr, copy_blocks_cost};

}  // namespace verdant::VERDANT_ISA
