// Hopper's own way to multiply: tiles that a copy engine brings into shared memory, products of warpgroups that read
// them there, barriers that count bytes, clusters. PTX for sm_90a; plain C++ in the emulator, where copies and products
// are done as late as the rules allow.       PTX ISA 8.0: wgmma, cp.async.bulk.tensor, mbarrier
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/hopper.h"
#include "cuda/launch.cuh"

#if defined(VERDANT_EMULATED)
#include "tensor_core.h"
#endif

#if defined(VERDANT_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define VERDANT_HOPPER 1
#endif

namespace verdant::cuda {

// A barrier in shared memory: its phase ends when `count` have arrived and all bytes that were announced have come.
struct alignas(8) Barrier {
#if defined(VERDANT_EMULATED)
  uint16_t count, missing;
  int32_t bytes_and_phase;  // 2 bytes + phase

  void settle() {
    if (missing > 0 || bytes_and_phase > 1) return;
    missing = count;
    bytes_and_phase ^= 1;
    emulator::went_on();
  }
#else
  uint64_t state;
#endif
};

#if defined(VERDANT_HOPPER)

static __device__ __forceinline__ uint32_t shared_address(const void* p) {
#if defined(VERDANT_EMULATED)
  return static_cast<uint32_t>(static_cast<const uint8_t*>(p) - emulator::dynamic_shared());
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
#endif
}

static __device__ __forceinline__ void barrier_init(Barrier& b, int count) {
#if defined(VERDANT_EMULATED)
  b = {static_cast<uint16_t>(count), static_cast<uint16_t>(count), 0};
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(count) : "memory");
#endif
}
// After the inits of one thread, before the __syncthreads behind which the others see them.
static __device__ __forceinline__ void barriers_made() {
#if !defined(VERDANT_EMULATED)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}
// Before a barrier behind which products or copies meet what this thread stored to shared memory.
static __device__ __forceinline__ void stores_before_products() {
#if !defined(VERDANT_EMULATED)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
static __device__ __forceinline__ void barrier_arrive(Barrier& b) {
#if defined(VERDANT_EMULATED)
  b.missing--;
  emulator::went_on();
  b.settle();
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
#endif
}
// At the barrier of block `rank` of the cluster that lies where `b` does in this one.
static __device__ __forceinline__ void barrier_arrive_at(Barrier& b, int rank) {
#if defined(VERDANT_EMULATED)
  barrier_arrive(*reinterpret_cast<Barrier*>(emulator::shared_of(static_cast<unsigned>(rank), &b)));
#else
  uint32_t at;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared_address(&b)), "r"(rank));
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(at) : "memory");
#endif
}
// Arrives, and announces bytes that copies will bring.
static __device__ __forceinline__ void barrier_expect(Barrier& b, int bytes) {
#if defined(VERDANT_EMULATED)
  b.bytes_and_phase += 2 * bytes;
  barrier_arrive(b);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes)
               : "memory");
#endif
}

#if !defined(VERDANT_EMULATED)
// Whether the phase with this parity has ended; waits for it, but not for long.
static __device__ __forceinline__ bool phase_ended(uint32_t barrier, int parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
// Time in units of 2^32 ns.
static __device__ __forceinline__ uint32_t long_time() {
  uint32_t t;
  asm volatile("mov.u32 %0, %%globaltimer_hi;" : "=r"(t));
  return t;
}
#endif

// Waits for the end of the phase with this parity; the first one has parity 0. A barrier that nobody serves ends the
// kernel with an error after about ten seconds: how long a try_wait waits is the GPU's own affair.
static __device__ __forceinline__ void barrier_wait(Barrier& b, int parity) {
#if defined(VERDANT_EMULATED)
  while ((b.bytes_and_phase & 1) == parity) emulator::pause();
  emulator::went_on();
#else
  const uint32_t at = shared_address(&b);
  if (phase_ended(at, parity)) return;
  const uint32_t begin = long_time();
  while (!phase_ended(at, parity))
    if (long_time() - begin > 2) __trap();
#endif
}

// Where a thread is in the ring.
template <int kStages>
struct RingPlace {
  int stage = 0, turn = 0;
  __device__ __forceinline__ void next() {
    if (++stage < kStages) return;
    stage = 0;
    turn ^= 1;
  }
};

#if defined(VERDANT_EMULATED)
// Where byte `at` of shared memory lies in a tile with such rows.
static inline uint32_t turned(uint32_t at, int row_bytes) {
  return at ^ (at >> 7 & static_cast<uint32_t>(row_bytes / 16 - 1)) << 4;
}
#endif

#if defined(VERDANT_EMULATED)
// A tile as the copy engine writes it at `base` of a block's shared memory.
static inline void write_tile(const TensorMap& m, uint8_t* memory, uint32_t base, int64_t row, int64_t column) {
  for (int r = 0; r < m.tile_rows; r++)
    for (int c = 0; c < m.tile_bytes / 2; c++) {
      const int64_t x = column + c, y = row + r;
      uint16_t value = 0;
      if (x < m.cols && y < m.rows) std::memcpy(&value, m.data + y * m.row_bytes + 2 * x, 2);
      std::memcpy(memory + turned(base + static_cast<uint32_t>(r * m.tile_bytes + 2 * c), m.tile_bytes), &value, 2);
    }
}
#endif

// The tile at (row, column) on its way to `to` of this block, or of each of the first kBlocks blocks of the cluster;
// its bytes count at `b` of each of them. One thread.
template <int kBlocks = 0>
static __device__ __forceinline__ void load_tile(const TensorMap& map, Barrier& b, void* to, int64_t row,
                                                 int64_t column) {
#if defined(VERDANT_EMULATED)
  const unsigned own = emulator::current->rank;
  for (unsigned rank = kBlocks == 0 ? own : 0; rank < (kBlocks == 0 ? own + 1 : kBlocks); rank++) {
    auto* barrier = reinterpret_cast<Barrier*>(emulator::shared_of(rank, &b));
    uint8_t* const memory = emulator::shared_of(rank, emulator::dynamic_shared());
    emulator::copy_later([m = &map, barrier, memory, base = shared_address(to), row, column] {
      write_tile(*m, memory, base, row, column);
      barrier->bytes_and_phase -= 2 * m->tile_rows * m->tile_bytes;
      barrier->settle();
    });
  }
#else
  if constexpr (kBlocks == 0)
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            shared_address(to)),
        "l"(&map), "r"(shared_address(&b)), "r"(static_cast<int32_t>(column)), "r"(static_cast<int32_t>(row))
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(to)),
        "l"(&map), "r"(shared_address(&b)), "r"(static_cast<int32_t>(column)), "r"(static_cast<int32_t>(row)),
        "h"(static_cast<uint16_t>((1 << kBlocks) - 1))
        : "memory");
#endif
}

// The rows of a tile from `p` on, a multiple of eight rows, as an operand: columns 0 .. 15; + 2 k: 16 k .. 16 k + 15.
template <int kRowBytes = kTileBytes>
static __device__ __forceinline__ uint64_t tile_operand(const void* p) {
  static_assert(kRowBytes == 128 || kRowBytes == 64);
  constexpr uint64_t kTurned = uint64_t{128 / kRowBytes} << 62, kEightRows = uint64_t{8 * kRowBytes >> 4} << 32,
                     kUnused = uint64_t{1} << 16;
  return kTurned | kEightRows | kUnused | (shared_address(p) >> 4 & 0x3fff);
}

// The first 128 threads of a block.
static __device__ __forceinline__ void group_sync() {
#if defined(VERDANT_EMULATED)
  emulator::block_barrier(1, 128);
#else
  asm volatile("bar.sync 1, 128;" ::: "memory");
#endif
}

// Registers of a thread of the calling warpgroup, so that those who copy leave theirs to those who multiply.
template <int kCount>
static __device__ __forceinline__ void fewer_registers() {
#if !defined(VERDANT_EMULATED)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}
template <int kCount>
static __device__ __forceinline__ void more_registers() {
#if !defined(VERDANT_EMULATED)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}

// All threads of all blocks of the cluster; what each wrote to shared memory before is seen by the others.
static __device__ __forceinline__ void cluster_sync() {
#if defined(VERDANT_EMULATED)
  emulator::cluster_barrier();
#else
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
static __device__ __forceinline__ int cluster_rank() {
#if defined(VERDANT_EMULATED)
  return static_cast<int>(emulator::current->rank);
#else
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
#endif
}
// Four floats at `p` of this block's shared memory, read in block `rank` of the cluster.
static __device__ __forceinline__ float4 cluster_read(const float4* p, int rank) {
#if defined(VERDANT_EMULATED)
  return *reinterpret_cast<const float4*>(emulator::shared_of(static_cast<unsigned>(rank), p));
#else
  uint32_t at;
  float4 v;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared_address(p)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(at)
               : "memory");
  return v;
#endif
}

#endif  // VERDANT_HOPPER

}  // namespace verdant::cuda
