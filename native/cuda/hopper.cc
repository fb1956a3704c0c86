#include <array>
#include <cstdlib>
#include <mutex>
#include <string>

#include "core/error.h"
#include "cuda/agree.h"
#include "cuda/hopper.h"
#include "cuda/memory.h"

namespace verdant::cuda {

#if defined(VERDANT_EMULATED)

TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t row_bytes, int tile_rows, int tile_bytes) {
  return {static_cast<const uint8_t*>(data), rows, cols, row_bytes, tile_rows, tile_bytes};
}

#else

// The driver's function, found at run time: the library links the runtime only.
static auto map_encoder() {
  static const auto found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
#else
    check(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &result));
#endif
    if (result != cudaDriverEntryPointSuccess || function == nullptr)
      throw Error("ERR_DEVICE", "the NVIDIA driver has no cuTensorMapEncodeTiled: it is older than 12.0");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return found;
}

TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t row_bytes, int tile_rows, int tile_bytes) {
  TensorMap map;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(row_bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(tile_bytes / 2), static_cast<cuuint32_t>(tile_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUtensorMapSwizzle turn = tile_bytes == kTileBytes ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
  const CUresult result = map_encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes,
                                        strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, turn,
                                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw Error("ERR_DEVICE", "cuTensorMapEncodeTiled of " + std::to_string(rows) + " rows of " +
                                  std::to_string(row_bytes) + " bytes: error " + std::to_string(result));
  return map;
}

#endif

static bool asked_portable() {
  const char* wanted = std::getenv("VERDANT_CUDA_KERNELS");
  return wanted != nullptr && std::string(wanted) == "portable";
}

#if defined(VERDANT_EMULATED)
HopperKernels hopper_kernels() { return asked_portable() ? HopperKernels{} : HopperKernels{true, true, true}; }
#else

static HopperKernels find_hopper_kernels(int device) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, device));
  if (p.major != 9 || p.minor != 0) return {};
  return {linear_agrees(), codes_agree(), attention_agrees()};
}

HopperKernels hopper_kernels() {
  if (asked_portable()) return {};
  constexpr int kDevices = 64;
  struct Answer {
    std::once_flag asked;
    HopperKernels kernels;
  };
  static std::array<Answer, kDevices> known;
  int device = 0;
  check(cudaGetDevice(&device));
  if (device >= kDevices) return {};
  Answer& answer = known[static_cast<size_t>(device)];
  std::call_once(answer.asked, [&] { answer.kernels = find_hopper_kernels(device); });
  return answer.kernels;
}

#endif

}  // namespace verdant::cuda
