// Runs the loops on several threads at once and says how fast they were.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ceilings/loops.h"

namespace verdant_ceilings {

struct Options {
  int32_t threads = 1;
  double milliseconds = 50;  // of one round
  int32_t rounds = 3;        // of each kind
  std::string tier;          // generic, avx2, avx512; empty: the best
};

// One number per round, the sum over all threads: 10^9 bytes or operations per second. Empty: no such instruction.
struct Result {
  std::string tier;
  int64_t stream_bytes = 0;
  std::vector<double> stream, f32, bf16, int8;
};

// The strongest tier of this machine.
std::string best_tier();
// Throws std::invalid_argument for a tier that this machine lacks, std::bad_alloc, std::system_error (no threads).
Result measure(const Options& options);

}  // namespace verdant_ceilings
