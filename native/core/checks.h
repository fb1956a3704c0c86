// Everything that kernels use as an index is checked once per step, before they run.
#pragma once
#include <vector>

#include "core/device.h"

namespace verdant {

// Throws ERR_INPUT or ERR_GRAPH naming the input, what was expected and what was found.
void check_step(const Program& program, const std::vector<int32_t>& input_index, const Step& step);

}  // namespace verdant
