#include <cstdlib>
#include <string>

#include "cuda/launch.cuh"

namespace verdant::cuda {

#if defined(VERDANT_EMULATED)
static bool can_launch_dependent() { return true; }
#else

// Of the code that the driver chose for this GPU, the same for all kernels.
static __global__ void chosen_kernel() { wait_for_predecessors(); }

static bool can_launch_dependent() {
  constexpr int kCapturingDriver = 12030;
  int driver = 0;
  check(cudaDriverGetVersion(&driver));
  cudaFuncAttributes chosen{};
  check(cudaFuncGetAttributes(&chosen, chosen_kernel));
  return driver >= kCapturingDriver && chosen.ptxVersion >= 90;
}

#endif

bool dependent_launch() {
  const char* wanted = std::getenv("VERDANT_CUDA_DEPENDENT_LAUNCH");
  return (wanted == nullptr || std::string(wanted) != "0") && can_launch_dependent();
}

}  // namespace verdant::cuda
