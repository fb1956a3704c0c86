#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

namespace verdant::emulator {

thread_local ThreadState* current = nullptr;
thread_local dim3 grid_size, block_size;

namespace {

constexpr size_t kStack = (128 << 10) + 2112;  // not a power of two: the stacks' tops would share a few cache sets
constexpr unsigned kMaxThreads = 1024, kMaxCluster = 8;

using Work = std::vector<std::function<void()>>;

// A thread of a block: a stack of its own, entered once by ucontext, then left and resumed by longjmp, for one block
// after the other.
struct Fiber {
  ThreadState state;
  jmp_buf resume;
  bool started = false, done = false;
  unsigned warp_mask = 0;  // of the warp barrier it waits at; 0: none
  int barrier = -1;        // of the block, where it waits; kOfCluster: of the cluster
  unsigned barrier_count = 0;
  Work open;  // asynchronous work of its own: products and copies that were issued, then groups that were closed
  std::deque<Work> groups;
};
constexpr int kOfCluster = 1 << 20;

struct Block {
  std::vector<Fiber> fibers = std::vector<Fiber>(kMaxThreads);
  uint8_t* stacks = static_cast<uint8_t*>(
      mmap(nullptr, kStack* kMaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  std::vector<uint8_t> shared;
  std::vector<uint8_t> slots = std::vector<uint8_t>(kMaxThreads * 64);
  unsigned running = 0, ended = 0;  // threads
};

// Blocks that run at the same time.
struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;
  unsigned size = 1, count = 0;  // blocks, threads of each
  const std::function<void()>* body = nullptr;
  jmp_buf scheduler;
  Work copies;            // asynchronous ones that are under way
  uint64_t progress = 0;  // grows with everything that can let a thread go on
};

thread_local Cluster* cluster = nullptr;
thread_local Block* block = nullptr;

void enter() {
  Fiber& self = block->fibers[block->running];
  for (;;) {
    (*cluster->body)();
    if (!self.state.waited) {
      std::fprintf(stderr, "emulated kernel: a thread ended without a wait for the kernels before\n");
      std::abort();
    }
    self.done = true;
    block->ended++;
    if (_setjmp(self.resume) == 0) _longjmp(cluster->scheduler, 1);
  }
}

void resume(Block& of, unsigned i) {
  Fiber& f = of.fibers[i];
  block = &of;
  block->running = i;
  current = &f.state;
  if (_setjmp(cluster->scheduler) != 0) return;
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

Fiber& self() { return block->fibers[block->running]; }

void wait() {
  if (_setjmp(self().resume) == 0) _longjmp(cluster->scheduler, 1);
}

// Lets go of what waits at a warp barrier to which all that it names have come. A thread that has ended counts as come.
bool release_warp(Block& of, unsigned begin, unsigned end) {
  Fiber* const fibers = of.fibers.data();
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
  if (any) cluster->progress++;
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

// The threads of a warp, each as far as it comes alone.
void run_warp(Block& of, unsigned begin, unsigned end) {
  do {
    for (unsigned n = begin; n < end; n++) {
      const unsigned i = reversed() ? begin + end - 1 - n : n;
      const Fiber& f = of.fibers[i];
      if (f.done || f.barrier >= 0 || f.warp_mask != 0) continue;
      resume(of, i);
      if (f.done) cluster->progress++;
    }
  } while (release_warp(of, begin, end));
}

// Lets go of the threads at barrier `id` of a block where enough have come: `barrier_count` of them, 0: all that have
// not ended.
void release_block(Block& of, int id) {
  unsigned come = 0, gone = 0, wanted = 0;
  for (unsigned i = 0; i < cluster->count; i++) {
    const Fiber& f = of.fibers[i];
    gone += f.done;
    if (f.barrier != id) continue;
    come++;
    wanted = f.barrier_count;
  }
  if (come == 0 || (wanted > 0 ? come < wanted : come + gone < cluster->count)) return;
  for (unsigned i = 0; i < cluster->count; i++)
    if (of.fibers[i].barrier == id) of.fibers[i].barrier = -1;
  cluster->progress++;
}

void release_cluster() {
  for (unsigned b = 0; b < cluster->size; b++)
    for (unsigned i = 0; i < cluster->count; i++) {
      const Fiber& f = cluster->blocks[b]->fibers[i];
      if (!f.done && f.barrier != kOfCluster) return;
    }
  for (unsigned b = 0; b < cluster->size; b++)
    for (unsigned i = 0; i < cluster->count; i++) cluster->blocks[b]->fibers[i].barrier = -1;
  cluster->progress++;
}

// One block after the other, in each one warp after the other; then what is asynchronous, then barriers. True while
// a thread has not ended.
bool run_round() {
  const unsigned warps = (cluster->count + 31) / 32;
  const uint64_t before = cluster->progress;
  for (unsigned b = 0; b < cluster->size; b++)
    for (unsigned n = 0; n < warps; n++) {
      const unsigned warp = reversed() ? warps - 1 - n : n;
      run_warp(*cluster->blocks[b], 32 * warp, std::min(cluster->count, 32 * warp + 32));
    }
  Work copies;
  copies.swap(cluster->copies);
  for (const std::function<void()>& copy : copies) copy();
  cluster->progress += copies.size();
  bool left = false, of_cluster = false;
  for (unsigned b = 0; b < cluster->size; b++) {
    Block& of = *cluster->blocks[b];
    unsigned ids = 0;
    for (unsigned i = 0; i < cluster->count; i++) {
      left = left || !of.fibers[i].done;
      of_cluster = of_cluster || of.fibers[i].barrier == kOfCluster;
      if (of.fibers[i].barrier >= 0 && of.fibers[i].barrier < 16) ids |= 1u << of.fibers[i].barrier;
    }
    for (int id = 0; id < 16; id++)
      if ((ids >> id & 1) != 0) release_block(of, id);
  }
  if (of_cluster) release_cluster();
  if (left && cluster->progress == before) {
    std::fprintf(stderr, "emulated kernel: threads wait at different barriers\n");
    std::abort();
  }
  return left;
}

void run_cluster(dim3 first) {
  for (unsigned b = 0; b < cluster->size; b++) {
    cluster->blocks[b]->ended = 0;
    for (unsigned i = 0; i < cluster->count; i++) {
      Fiber& f = cluster->blocks[b]->fibers[i];
      f.done = false;
      f.barrier = -1;
      f.warp_mask = 0;
      f.state.thread = dim3(i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y);
      f.state.block = dim3(first.x + b, first.y, first.z);
      f.state.rank = b;
      f.state.waited = false;
    }
  }
  while (run_round()) {
  }
}

void run_grid(dim3 grid, dim3 size, size_t shared, unsigned cluster_size, const std::function<void()>& body) {
  static thread_local Cluster* own = nullptr;  // stacks are kept
  if (own == nullptr) own = new Cluster();
  cluster = own;
  grid_size = grid;
  block_size = size;
  cluster->size = cluster_size;
  cluster->count = size.x * size.y * size.z;
  cluster->body = &body;
  while (cluster->blocks.size() < cluster_size) cluster->blocks.push_back(std::make_unique<Block>());
  for (unsigned b = 0; b < cluster_size; b++)
    cluster->blocks[b]->shared.assign(shared + 1024, 0xcd);  // never zero by luck
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x += cluster_size) run_cluster(dim3(x, y, z));
  current = nullptr;
}

uint8_t* dynamic_shared_of(Block& of) {
  uint8_t* p = of.shared.data();
  return p + (-reinterpret_cast<uintptr_t>(p) & 1023);
}

}  // namespace

uint8_t* dynamic_shared() { return dynamic_shared_of(*block); }

uint8_t* shared_of(unsigned rank, const void* own) {
  if (cluster->blocks[rank]->ended == cluster->count) {
    std::fprintf(stderr, "emulated kernel: a block reaches for the shared memory of one that has ended\n");
    std::abort();
  }
  return dynamic_shared_of(*cluster->blocks[rank]) + (static_cast<const uint8_t*>(own) - dynamic_shared());
}

void block_barrier(int id, unsigned threads) {
  self().barrier = id;
  self().barrier_count = threads;
  wait();
}

void cluster_barrier() {
  self().barrier = kOfCluster;
  wait();
}

void warp_barrier(unsigned mask) {
  const unsigned warp = block->running / 32 * 32;
  const unsigned lanes = std::min(32u, cluster->count - warp);
  self().warp_mask = lanes == 32 ? mask : mask & ((1u << lanes) - 1);
  wait();
}

void pause() { wait(); }
void went_on() { cluster->progress++; }

void copy_later(std::function<void()> copy) { cluster->copies.push_back(std::move(copy)); }

void work_later(std::function<void()> work) { self().open.push_back(std::move(work)); }
void close_work() {
  self().groups.push_back(std::move(self().open));
  self().open.clear();
}
void finish_work(unsigned left) {
  while (self().groups.size() > left) {
    for (const std::function<void()>& product : self().groups.front()) product();
    self().groups.pop_front();
  }
  warp_barrier(0xffffffffu);
}

uint8_t* lane_slot(unsigned lane) { return block->slots.data() + (block->running / 32 * 32 + lane) * 64; }

cudaError_t run(dim3 grid, dim3 size, size_t shared, cudaStream_t stream, std::function<void()> body,
                unsigned cluster_size) {
  const unsigned threads = size.x * size.y * size.z;
  if (threads == 0 || threads > kMaxThreads || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || shared > (227 << 10) || cluster_size == 0 || cluster_size > kMaxCluster ||
      grid.x % cluster_size != 0)
    return cudaErrorInvalidValue;
  return enqueue(stream, [=] { run_grid(grid, size, shared, cluster_size, body); });
}

}  // namespace verdant::emulator
