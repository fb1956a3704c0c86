// NVIDIA GPUs as a device: cuda:0, cuda:1, ...
#pragma once
#include "core/device.h"

namespace verdant::cuda {

Device& cuda_device();

}  // namespace verdant::cuda
