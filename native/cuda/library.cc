#include "core/device_library.h"
#include "cuda/device.h"

#if defined(_WIN32)
#define VERDANT_EXPORT extern "C" __declspec(dllexport)
#else
#define VERDANT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

VERDANT_EXPORT const verdant::DeviceLibrary* verdant_device_library() {
  static const verdant::DeviceLibrary library = {{}, &verdant::cuda::cuda_device()};
  return &library;
}
