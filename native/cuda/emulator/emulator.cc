#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  EmulatedGraph* capturing = nullptr;
};
struct EmulatedEvent {
  std::chrono::steady_clock::time_point at;
};

namespace verdant::emulator {

thread_local ThreadState* current = nullptr;
thread_local dim3 grid_size, block_size;

namespace {

constexpr size_t kStack = (128 << 10) + 2112;  // not a power of two: the stacks' tops would share a few cache sets
constexpr unsigned kMaxThreads = 1024;

// A thread of a block: a stack of its own, entered once by ucontext, then left and resumed by longjmp, for one block
// after the other.
struct Fiber {
  ThreadState state;
  jmp_buf resume;
  bool started = false, done = false;
  unsigned warp_mask = 0;  // of the warp barrier it waits at; 0: none
  bool at_block = false;
};

struct Block {
  std::vector<Fiber> fibers = std::vector<Fiber>(kMaxThreads);
  unsigned count = 0;
  uint8_t* stacks = nullptr;
  jmp_buf scheduler;
  const std::function<void()>* body = nullptr;
  unsigned running = 0;
  std::vector<uint8_t> shared;
  std::vector<uint8_t> slots;
};

thread_local Block* block = nullptr;

void enter() {
  Fiber& self = block->fibers[block->running];
  for (;;) {
    (*block->body)();
    self.done = true;
    if (_setjmp(self.resume) == 0) _longjmp(block->scheduler, 1);
  }
}

void resume(unsigned i) {
  Fiber& f = block->fibers[i];
  block->running = i;
  current = &f.state;
  if (_setjmp(block->scheduler) != 0) return;
  if (f.started) _longjmp(f.resume, 1);
  f.started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = block->stacks + i * kStack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
  setcontext(&context);
}

void wait() {
  if (_setjmp(block->fibers[block->running].resume) == 0) _longjmp(block->scheduler, 1);
}

// Lets go of what waits at a warp barrier to which all that it names have come. A thread that has ended counts as come.
bool release_warp(unsigned begin, unsigned end) {
  Fiber* const fibers = block->fibers.data();
  bool any = false;
  for (unsigned i = begin; i < end; i++) {
    const unsigned mask = fibers[i].warp_mask;
    if (mask == 0) continue;
    bool all = true;
    for (unsigned j = begin; j < end; j++)
      if ((mask >> (j - begin) & 1) != 0) all = all && (fibers[j].done || fibers[j].warp_mask == mask);
    if (!all) continue;
    for (unsigned j = begin; j < end; j++)
      if ((mask >> (j - begin) & 1) != 0) fibers[j].warp_mask = 0;
    any = true;
  }
  return any;
}

// VERDANT_EMULATED_ORDER=reverse runs the threads of a block the other way round between barriers: what depends on the
// order is a race.
bool reversed() {
  static const bool set = [] {
    const char* order = std::getenv("VERDANT_EMULATED_ORDER");
    return order != nullptr && std::strcmp(order, "reverse") == 0;
  }();
  return set;
}

// The threads of a warp, each as far as it comes alone, until all wait at the block's barrier or have ended.
void run_warp(unsigned begin, unsigned end) {
  do {
    for (unsigned n = begin; n < end; n++) {
      const unsigned i = reversed() ? begin + end - 1 - n : n;
      const Fiber& f = block->fibers[i];
      if (!f.done && !f.at_block && f.warp_mask == 0) resume(i);
    }
  } while (release_warp(begin, end));
  for (unsigned i = begin; i < end; i++) {
    if (block->fibers[i].warp_mask == 0) continue;
    std::fprintf(stderr, "emulated kernel: threads wait at different barriers\n");
    std::abort();
  }
}

void run_block(dim3 index) {
  const unsigned count = block->count;
  for (unsigned i = 0; i < count; i++) {
    Fiber& f = block->fibers[i];
    f.done = f.at_block = false;
    f.warp_mask = 0;
    f.state.thread = dim3(i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y);
    f.state.block = index;
  }
  const unsigned warps = (count + 31) / 32;
  for (bool left = true; left;) {
    for (unsigned n = 0; n < warps; n++) {
      const unsigned warp = reversed() ? warps - 1 - n : n;
      run_warp(32 * warp, std::min(count, 32 * warp + 32));
    }
    left = false;  // all have come to the block's barrier, or ended
    for (unsigned i = 0; i < count; i++) {
      left = left || block->fibers[i].at_block;
      block->fibers[i].at_block = false;
    }
  }
}

void run_grid(dim3 grid, dim3 size, size_t shared, const std::function<void()>& body) {
  static thread_local Block* own = nullptr;  // stacks are kept
  if (own == nullptr) {
    own = new Block();
    own->stacks = static_cast<uint8_t*>(mmap(nullptr, kStack * kMaxThreads, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    own->slots.resize(kMaxThreads * 64);
  }
  block = own;
  grid_size = grid;
  block_size = size;
  block->count = size.x * size.y * size.z;
  block->shared.assign(shared + 128, 0xcd);  // never zero by luck
  block->body = &body;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) run_block(dim3(x, y, z));
  current = nullptr;
}

}  // namespace

uint8_t* dynamic_shared() {
  uint8_t* p = block->shared.data();
  return p + (-reinterpret_cast<uintptr_t>(p) & 127);
}

void block_barrier() {
  block->fibers[block->running].at_block = true;
  wait();
}

void warp_barrier(unsigned mask) {
  const unsigned warp = block->running / 32 * 32;
  const unsigned lanes = std::min(32u, block->count - warp);
  block->fibers[block->running].warp_mask = lanes == 32 ? mask : mask & ((1u << lanes) - 1);
  wait();
}

uint8_t* lane_slot(unsigned lane) { return block->slots.data() + (block->running / 32 * 32 + lane) * 64; }

cudaError_t run(dim3 grid, dim3 size, size_t shared, cudaStream_t stream, std::function<void()> body) {
  const unsigned threads = size.x * size.y * size.z;
  if (threads == 0 || threads > kMaxThreads || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || shared > (227 << 10))
    return cudaErrorInvalidValue;
  std::function<void()> work = [=] { run_grid(grid, size, shared, body); };
  if (stream != nullptr && stream->capturing != nullptr)
    stream->capturing->work.push_back(std::move(work));
  else
    work();
  return cudaSuccess;
}

namespace {

std::mutex memory_mutex;
std::map<void*, size_t> allocations;
size_t used = 0;
thread_local cudaError_t last_error = cudaSuccess;

size_t memory_size() {
  const char* text = std::getenv("VERDANT_EMULATED_MEMORY");
  return text == nullptr ? size_t{8} << 30 : std::strtoull(text, nullptr, 10);
}

cudaError_t fail(cudaError_t error) { return last_error = error; }

cudaError_t queue(cudaStream_t stream, std::function<void()> work) {
  if (stream != nullptr && stream->capturing != nullptr)
    stream->capturing->work.push_back(std::move(work));
  else
    work();
  return cudaSuccess;
}

}  // namespace
}  // namespace verdant::emulator

using namespace verdant::emulator;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    default:
      return "cudaErrorNoDevice";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(error);
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : fail(cudaErrorInvalidValue); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"emulated on the CPU", memory_size(), 8, 0, 4, 163 << 10};
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard lock(memory_mutex);
  *total = memory_size();
  *free = *total - used;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t bytes) {
  std::lock_guard lock(memory_mutex);
  *p = nullptr;
  if (used + bytes > memory_size()) return fail(cudaErrorMemoryAllocation);
  void* got = nullptr;
  if (posix_memalign(&got, 256, std::max<size_t>(bytes, 1)) != 0) return fail(cudaErrorMemoryAllocation);
  std::memset(got, 0xcd, bytes);  // never zero by luck
  allocations[got] = bytes;
  used += bytes;
  *p = got;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  std::lock_guard lock(memory_mutex);
  const auto found = allocations.find(p);
  if (found == allocations.end()) return fail(cudaErrorInvalidValue);
  used -= found->second;
  allocations.erase(found);
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = std::malloc(std::max<size_t>(bytes, 1));
  return *p == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return queue(stream, [=] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return queue(stream, [=] { std::memset(p, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return queue(stream, [=] { event->at = std::chrono::steady_clock::now(); });
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = std::chrono::duration<float, std::milli>(to->at - from->at).count();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = new EmulatedGraph();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capturing;
  stream->capturing = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  for (const std::function<void()>& work : graph->work) work();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
