#include "node/device_list.h"

#include <uv.h>

#include <map>
#include <mutex>

#include "core/device_library.h"
#include "core/error.h"
#include "cpu/device.h"

namespace verdant {
namespace {

struct Libraries {
  std::mutex mutex;
  std::map<std::string, Device*> by_path;
  std::vector<Device*> devices;  // in order of loading
};

Libraries& libraries() {
  static auto* all = new Libraries();  // never destroyed, as the devices
  return *all;
}

std::vector<Device*> all_devices() {
  std::vector<Device*> out = {&cpu_device()};
  std::lock_guard lock(libraries().mutex);
  out.insert(out.end(), libraries().devices.begin(), libraries().devices.end());
  return out;
}

}  // namespace

void load_device_library(const std::string& path) {
  std::lock_guard lock(libraries().mutex);
  if (libraries().by_path.count(path) != 0) return;
  uv_lib_t library;
  const auto fail = [&](const std::string& why) {
    uv_dlclose(&library);
    throw Error("ERR_DEVICE", "device library " + path + " " + why);
  };
  if (uv_dlopen(path.c_str(), &library) != 0) fail("cannot be loaded: " + std::string(uv_dlerror(&library)));
  void* symbol = nullptr;
  if (uv_dlsym(&library, kDeviceLibrarySymbol, &symbol) != 0) fail("has no " + std::string(kDeviceLibrarySymbol));
  const DeviceLibrary* found = reinterpret_cast<DeviceLibraryFn>(symbol)();
  if (!(found->abi == DeviceAbi{})) fail("was built from other sources than the addon; build both again");
  libraries().by_path[path] = found->device;
  libraries().devices.push_back(found->device);
}

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> out;
  for (Device* device : all_devices())
    for (DeviceInfo& info : device->list()) out.push_back(std::move(info));
  return out;
}

Device& device_named(const std::string& name) {
  for (Device* device : all_devices())
    for (const DeviceInfo& info : device->list())
      if (info.name == name) return *device;
  return cpu_device();
}

}  // namespace verdant
