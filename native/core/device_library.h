// What a device library (native/cuda) exports, and how the addon knows that both were built from the same sources.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"

namespace verdant {

#if !defined(VERDANT_ABI)
#error "VERDANT_ABI: the number that scripts/abi.mjs prints"
#endif

// The shared headers, sizes of what crosses the border, and the C++ library's own layout: equal where both sides agree.
struct DeviceAbi {
  uint32_t headers = VERDANT_ABI;
  uint32_t string_layout =
#if defined(_GLIBCXX_USE_CXX11_ABI)
      _GLIBCXX_USE_CXX11_ABI;
#else
      0;
#endif
  uint32_t program = sizeof(Program), weight = sizeof(WeightExpr), step = sizeof(Step), info = sizeof(ExecutableInfo),
           device_info = sizeof(DeviceInfo), control = sizeof(CompileControl);
  bool operator==(const DeviceAbi&) const = default;
};

// The library's one symbol, "verdant_device_library", is a function without arguments that gives this. The devices are
// never destroyed and the library is never unloaded.
struct DeviceLibrary {
  DeviceAbi abi;
  Device* device;
};
using DeviceLibraryFn = const DeviceLibrary* (*)();
constexpr const char* kDeviceLibrarySymbol = "verdant_device_library";

}  // namespace verdant
