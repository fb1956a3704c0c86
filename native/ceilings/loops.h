// What a machine can do at most: loops that only multiply, in registers, and one that only reads.
#pragma once
#include <stdint.h>

namespace verdant_ceilings {

// Repeats a block of independent chains `blocks` times; the sums go to `sink` (64 bytes), so that no compiler drops
// them.
using ComputeLoop = void (*)(int64_t blocks, void* sink);
// Reads `bytes` (a multiple of 1024) once from memory.
using StreamLoop = void (*)(const uint8_t* begin, int64_t bytes, void* sink);

struct Compute {
  ComputeLoop run = nullptr;  // null: this machine has no such instruction
  double operations = 0;      // of one block; a multiplication with its addition counts as two
};

struct Loops {
  Compute f32, bf16, int8;
  StreamLoop stream = nullptr;
};

// Each puts in what its instruction set does better than the weaker ones.
void add_generic(Loops& loops);
void add_avx2(Loops& loops);
void add_avx512(Loops& loops);
void add_avx512_vnni(Loops& loops);
void add_avx512_bf16(Loops& loops);
void add_avx512_amx(Loops& loops);

constexpr int kChains = 16;        // latency 4 to 6 times two units per cycle, and some more
constexpr int kPrefetch = 4096;    // bytes ahead of the load
constexpr int kStreamStep = 1024;  // bytes of one iteration

}  // namespace verdant_ceilings
