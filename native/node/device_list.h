// All devices of this process: the CPU and those of loaded libraries.
#pragma once
#include <string>
#include <vector>

#include "core/device.h"

namespace verdant {

// Adds the devices of a library (core/device_library.h); the same path again does nothing. Libraries stay loaded.
// Throws ERR_DEVICE: it cannot be loaded, is no device library, or was built from other sources.
void load_device_library(const std::string& path);

std::vector<DeviceInfo> list_devices();
// The device that knows this name; the CPU's where none does, which says so when it is opened.
Device& device_named(const std::string& name);

}  // namespace verdant
