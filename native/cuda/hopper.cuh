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
static __device__ __forceinline__ void barrier_arrive(Barrier& b) {
#if defined(VERDANT_EMULATED)
  b.missing--;
  emulator::went_on();
  b.settle();
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
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

// Waits for the end of the phase with this parity; the first one has parity 0. A barrier that nobody serves ends the
// kernel with an error instead of never.
static __device__ __forceinline__ void barrier_wait(Barrier& b, int parity) {
#if defined(VERDANT_EMULATED)
  while ((b.bytes_and_phase & 1) == parity) emulator::pause();
  emulator::went_on();
#else
  const uint32_t at = shared_address(&b);
  for (int turn = 0;; turn++) {
    uint32_t done;
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(done)
        : "r"(at), "r"(parity)
        : "memory");
    if (done != 0) return;
    if (turn == 1 << 24) __trap();
  }
#endif
}

// The tile at (row, column) on its way to `to`; its bytes count at `b`. One thread.
static __device__ __forceinline__ void load_tile(const TensorMap& map, Barrier& b, void* to, int64_t row,
                                                 int64_t column) {
#if defined(VERDANT_EMULATED)
  const TensorMap* m = &map;
  Barrier* barrier = &b;
  const uint32_t base = shared_address(to);
  uint8_t* const memory = emulator::dynamic_shared();
  emulator::copy_later([=] {
    for (int r = 0; r < m->tile_rows; r++)
      for (int c = 0; c < 64; c++) {
        const int64_t x = column + c, y = row + r;
        uint16_t value = 0;
        if (x < m->cols && y < m->rows) std::memcpy(&value, m->data + y * m->row_bytes + 2 * x, 2);
        const uint32_t at = base + static_cast<uint32_t>(r * kTileBytes + 2 * c);
        std::memcpy(memory + (at ^ (at >> 7 & 7) << 4), &value, 2);
      }
    barrier->bytes_and_phase -= 2 * m->tile_rows * kTileBytes;
    barrier->settle();
  });
#else
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(to)),
      "l"(&map), "r"(shared_address(&b)), "r"(static_cast<int32_t>(column)), "r"(static_cast<int32_t>(row))
      : "memory");
#endif
}

// 64 columns of the rows of a tile from `p` on, as an operand; p a multiple of 1024 plus 32 k: columns 16 k .. 16 k
// + 15.
static __device__ __forceinline__ uint64_t tile_operand(const void* p) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kEightRows = uint64_t{1024 >> 4} << 32,
                     kUnused = uint64_t{1} << 16;
  return kSwizzle128 | kEightRows | kUnused | (shared_address(p) >> 4 & 0x3fff);
}

// The first 128 threads of a block.
static __device__ __forceinline__ void group_sync() {
#if defined(VERDANT_EMULATED)
  emulator::block_barrier(1, 128);
#else
  asm volatile("bar.sync 1, 128;" ::: "memory");
#endif
}

// Products of a warpgroup of 128 threads. Between a fence and the end of a wait their sums belong to them.
static __device__ __forceinline__ void products_begin() {
#if !defined(VERDANT_EMULATED)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
static __device__ __forceinline__ void products_close() {
#if defined(VERDANT_EMULATED)
  emulator::close_products();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most kOpen groups are under way.
template <int kOpen>
static __device__ __forceinline__ void products_wait() {
#if defined(VERDANT_EMULATED)
  emulator::finish_products(kOpen);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kOpen) : "memory");
#endif
}

#if defined(VERDANT_EMULATED)
// Row r of an operand, 16 columns.
static inline void operand_row(uint64_t operand, int r, emulator::Operand out[16]) {
  const auto start = static_cast<uint32_t>(operand & 0x3fff) << 4, eight = static_cast<uint32_t>(operand >> 32 & 0x3fff)
                                                                           << 4;
  for (int k = 0; k < 16; k++) {
    const uint32_t at =
        start + static_cast<uint32_t>(r / 8) * eight + static_cast<uint32_t>(r % 8 * kTileBytes + 2 * k);
    uint16_t bits;
    std::memcpy(&bits, emulator::dynamic_shared() + (at ^ (at >> 7 & 7) << 4), 2);
    out[k] = emulator::operand(bits);
  }
}
#endif

// d (64, kCols) (+)= a (64, 16) b (kCols, 16)^T. Warp w of the warpgroup holds rows 16 w .. 16 w + 15; lane 4 g + t of
// it columns 8 j + 2 t and 8 j + 2 t + 1 of rows g (d[4 j], d[4 j + 1]) and g + 8 (d[4 j + 2], d[4 j + 3]).
template <int kCols>
static __device__ __forceinline__ void multiply_tiles(float (&d)[kCols / 2], uint64_t a, uint64_t b, bool add) {
#if defined(VERDANT_EMULATED)
  float* const sums = d;
  const int warp = warp_index() % 4, g = warp_lane() / 4, t = warp_lane() % 4;
  emulator::multiply_later([=] {
    emulator::Operand x[2][16], y[16];
    for (int h = 0; h < 2; h++) operand_row(a, 16 * warp + g + 8 * h, x[h]);
    for (int n = 0; n < kCols / 4; n++) {
      operand_row(b, n / 2 * 8 + 2 * t + n % 2, y);
      for (int h = 0; h < 2; h++) {
        float& sum = sums[n / 2 * 4 + 2 * h + n % 2];
        sum = emulator::fused_sum(x[h], y, add ? sum : 0.0f);
      }
    }
  });
#else
  static_assert(kCols == 128 || kCols == 192);
  // clang-format off
#define VERDANT_SUMS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define VERDANT_SUMS_32(i) VERDANT_SUMS_8(i), VERDANT_SUMS_8(i + 8), VERDANT_SUMS_8(i + 16), VERDANT_SUMS_8(i + 24)
  if constexpr (kCols == 128) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, "
      "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
      "%62, %63"
      "}, %64, %65, p, 1, 1, 0, 0;\n}"
      : VERDANT_SUMS_32(0), VERDANT_SUMS_32(32)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
  }
  else if constexpr (kCols == 192) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, "
      "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
      "%62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, "
      "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
      "}, %96, %97, p, 1, 1, 0, 0;\n}"
      : VERDANT_SUMS_32(0), VERDANT_SUMS_32(32), VERDANT_SUMS_32(64)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
  }
#undef VERDANT_SUMS_32
#undef VERDANT_SUMS_8
  // clang-format on
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
