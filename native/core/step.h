// What the executables of all devices do around a step.
#pragma once
#include <vector>

#include "core/device.h"

namespace verdant {

// By value, -1: none: its place in step.inputs, and in step.outputs.
std::vector<int32_t> input_index(const Program& program);
std::vector<int32_t> output_index(const Program& program);

// Room for what step.k steps give. Throws ERR_OUT_OF_MEMORY naming the output.
void allocate_outputs(const Program& program, Step& step);

}  // namespace verdant
