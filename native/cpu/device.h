// The CPU as a device: `cpu` is the best tier, `cpu:generic`, `cpu:avx2`, `cpu:avx512` name one.
#pragma once
#include "core/device.h"

namespace verdant {

Device& cpu_device();

}  // namespace verdant
