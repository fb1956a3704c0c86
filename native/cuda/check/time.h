// How long whole executables take on the GPU.
#pragma once
#include <string>

namespace verdant::check {

// `shapes`: names of shapes, empty: the published ones. Prints a line for each figure; false: something failed.
bool time_all(const std::string& shapes);

}  // namespace verdant::check
