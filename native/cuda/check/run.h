// Runs programs on a device of this process and compares what they give.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "cuda/check/maker.h"

namespace verdant::check {

using Outputs = std::vector<std::vector<uint8_t>>;  // by output

// job() on the engine thread of the device, to its end; throws what it throws.
void on_device(Device& device, const std::function<void()>& job);
std::shared_ptr<Executable> compile(Device& device, const std::string& name, const Program& program);
Outputs run(Device& device, Executable& executable, const std::vector<std::vector<uint8_t>>& inputs);

struct Tally {
  int64_t cases = 0, failures = 0;
  std::map<std::string, int64_t> missing;  // what the device lacks, by its own words, and cases that need it
};
// VERDANT_CUDA_KERNELS is set: the kernels of Hopper are not wanted.
bool portable_only();
// Runs one case on cpu:generic and on cuda:0; says what failed.
void check_case(const Case& c, Tally& tally);
// Makes and drops models: memory must come back.
void check_memory(Tally& tally);

}  // namespace verdant::check
