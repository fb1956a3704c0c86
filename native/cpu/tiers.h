// CPU tiers: which exist on this machine, and the kernel table of each.
#pragma once
#include <string>
#include <vector>

#include "core/op.h"

namespace verdant {

struct Tier {
  std::string name;         // generic, avx2, avx512
  std::string description;  // overlays in use, or what the machine lacks
  bool usable;
};

// Best first. avx512 carries the overlays avx512_vnni, avx512_bf16 and avx512_amx_* where the CPU has them.
std::vector<Tier> cpu_tiers();
KernelTable tier_kernels(const std::string& tier);

}  // namespace verdant
