// Memory that a thread asks for and does not wait for.       PTX ISA: cp.async
#pragma once
#include "cuda/launch.cuh"

namespace verdant::cuda {

// 16 bytes, both places multiples of 16.
static __device__ __forceinline__ void copy_16(void* to, const void* from) {
#if defined(VERDANT_EMULATED)
  emulator::work_later([=] { std::memcpy(to, from, 16); });
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from)
               : "memory");
#endif
}
// Those asked for so far are one group.
static __device__ __forceinline__ void copies_close() {
#if defined(VERDANT_EMULATED)
  emulator::close_work();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until the thread's own groups but the last kLeft have come; by all threads of a warp.
template <int kLeft = 0>
static __device__ __forceinline__ void copies_wait() {
#if defined(VERDANT_EMULATED)
  emulator::finish_work(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

// Brings the 128 bytes around `p` to the L2 cache.
static __device__ __forceinline__ void call_line([[maybe_unused]] const void* p) {
#if !defined(VERDANT_EMULATED)
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

}  // namespace verdant::cuda
