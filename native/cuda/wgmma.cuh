// Products of warpgroups of 128 threads, whose operands lie in tiles of shared memory as hopper.cuh brings them.
//       PTX ISA 8.0: wgmma
#pragma once
#include <array>

#include "cuda/hopper.cuh"

namespace verdant::cuda {

#if defined(VERDANT_HOPPER)

// Products of a warpgroup of 128 threads. Between a fence and the end of a wait their sums belong to them.
static __device__ __forceinline__ void products_begin() {
#if !defined(VERDANT_EMULATED)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
static __device__ __forceinline__ void products_close() {
#if defined(VERDANT_EMULATED)
  emulator::close_work();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most kOpen groups are under way.
template <int kOpen>
static __device__ __forceinline__ void products_wait() {
#if defined(VERDANT_EMULATED)
  emulator::finish_work(kOpen);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kOpen) : "memory");
#endif
}

// After a wait: sums that it waited for are not read before it.
template <int kCount>
static __device__ __forceinline__ void products_done([[maybe_unused]] float (&sums)[kCount]) {
#if !defined(VERDANT_EMULATED)
#pragma unroll
  for (int i = 0; i < kCount; i++) asm volatile("" : "+f"(sums[i])::"memory");
#endif
}

// Row and column of sum i of a lane, within the 64 rows of its warpgroup.
static __device__ __forceinline__ int sum_row(int i) { return warp_index() % 4 * 16 + warp_lane() / 4 + i / 2 % 2 * 8; }
static __device__ __forceinline__ int sum_column(int i) { return i / 4 * 8 + warp_lane() % 4 * 2 + i % 2; }

#if defined(VERDANT_EMULATED)
// Row r of an operand, 16 columns.
static inline emulator::Operands operand_row(uint64_t operand, int r) {
  const auto start = static_cast<uint32_t>(operand & 0x3fff) << 4;
  const auto eight = static_cast<uint32_t>(operand >> 32 & 0x3fff) << 4;
  const int row_bytes = static_cast<int>(kTileBytes >> ((operand >> 62 & 3) - 1));
  uint16_t bits[16];
  for (int part = 0; part < 2; part++) {
    const uint32_t at =
        start + static_cast<uint32_t>(r / 8) * eight + static_cast<uint32_t>(r % 8 * row_bytes + 16 * part);
    std::memcpy(bits + 8 * part, emulator::dynamic_shared() + turned(at, row_bytes), 16);
  }
  emulator::Operands out;
  out.set(bits);
  return out;
}
// sums (16 rows of a warp, kCols) (+)= x (rows g and g + 8) times rows of operand b.
template <int kCols>
static inline void multiply_rows(float* sums, const emulator::Operands (&x)[2], uint64_t b, bool add) {
  const int t = warp_lane() % 4;
  for (int n = 0; n < kCols / 4; n++) {
    const emulator::Operands y = operand_row(b, n / 2 * 8 + 2 * t + n % 2);
    for (int h = 0; h < 2; h++) {
      float& sum = sums[n / 2 * 4 + 2 * h + n % 2];
      sum = emulator::fused_sum(x[h], y, add ? sum : 0.0f);
    }
  }
}
#endif

#if !defined(VERDANT_EMULATED)
// clang-format off
#define VERDANT_SUMS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define VERDANT_SUMS_8(i) VERDANT_SUMS_4(i), VERDANT_SUMS_4(i + 4)
#define VERDANT_SUMS_32(i) VERDANT_SUMS_8(i), VERDANT_SUMS_8(i + 8), VERDANT_SUMS_8(i + 16), VERDANT_SUMS_8(i + 24)
// clang-format on
#endif

// d (64, kCols) (+)= a (64, 16) b (kCols, 16)^T. Warp w of the warpgroup holds rows 16 w .. 16 w + 15; lane 4 g + t of
// it columns 8 j + 2 t and 8 j + 2 t + 1 of rows g (d[4 j], d[4 j + 1]) and g + 8 (d[4 j + 2], d[4 j + 3]).
template <int kCols>
static __device__ __forceinline__ void multiply_tiles(float (&d)[kCols / 2], uint64_t a, uint64_t b, bool add) {
#if defined(VERDANT_EMULATED)
  float* const sums = d;
  emulator::work_later([=] {
    const int row = warp_index() % 4 * 16 + warp_lane() / 4;
    const emulator::Operands x[2] = {operand_row(a, row), operand_row(a, row + 8)};
    multiply_rows<kCols>(sums, x, b, add);
  });
#else
  static_assert(kCols == 64 || kCols == 128 || kCols == 192);
  // clang-format off
  if constexpr (kCols == 64) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0;\n}"
      : VERDANT_SUMS_32(0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
  }
  else if constexpr (kCols == 128) {
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
  // clang-format on
#endif
}

// The same with a in registers: as a of `mma` (numbers.cuh), of the 16 rows of the warp. They stay as they are until
// the product is done.
template <int kCols>
static __device__ __forceinline__ void multiply_fragment(float (&d)[kCols / 2], const uint32_t (&a)[4], uint64_t b,
                                                         bool add) {
#if defined(VERDANT_EMULATED)
  float* const sums = d;
  const unsigned lane = emulator::lane_id();
  std::memcpy(emulator::lane_slot(lane), a, sizeof a);
  emulator::warp_barrier(0xffffffffu);
  std::array<std::array<uint16_t, 16>, 2> rows;
  for (unsigned h = 0; h < 2; h++)
    for (unsigned k = 0; k < 16; k++) {
      const auto* given = reinterpret_cast<const uint32_t*>(emulator::lane_slot(lane / 4 * 4 + k % 8 / 2));
      rows[h][k] = static_cast<uint16_t>(given[h + k / 8 * 2] >> k % 2 * 16);
    }
  emulator::warp_barrier(0xffffffffu);
  emulator::work_later([=] {
    emulator::Operands x[2];
    for (unsigned h = 0; h < 2; h++) x[h].set(rows[h].data());
    multiply_rows<kCols>(sums, x, b, add);
  });
#else
  static_assert(kCols == 64 || kCols == 72 || kCols == 128 || kCols == 136);
  // clang-format off
  if constexpr (kCols == 64) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
      : VERDANT_SUMS_32(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
  }
  else if constexpr (kCols == 72) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %41, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35"
      "}, {%36, %37, %38, %39}, %40, p, 1, 1, 0;\n}"
      : VERDANT_SUMS_32(0), VERDANT_SUMS_4(32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
  }
  else if constexpr (kCols == 128) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
      : VERDANT_SUMS_32(0), VERDANT_SUMS_32(32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
  }
  else if constexpr (kCols == 136) {
    asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %73, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n136k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, "
      "%66, %67"
      "}, {%68, %69, %70, %71}, %72, p, 1, 1, 0;\n}"
      : VERDANT_SUMS_32(0), VERDANT_SUMS_32(32), VERDANT_SUMS_4(64)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
  }
  // clang-format on
#endif
}

#if !defined(VERDANT_EMULATED)
#undef VERDANT_SUMS_32
#undef VERDANT_SUMS_8
#undef VERDANT_SUMS_4
#endif

#endif  // VERDANT_HOPPER

}  // namespace verdant::cuda
