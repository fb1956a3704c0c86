// A KV cache of a case: where its sequences lie.
#pragma once
#include <string>
#include <vector>

#include "cuda/check/maker.h"

namespace verdant::check {

// Pages of the sequences, in a random order; `blocks`: a few more than are used.
struct Pages {
  int64_t columns = 1, blocks = 0;
  std::vector<int32_t> table;  // (sequences, columns)

  Pages(const Maker& m, const std::vector<int64_t>& keys);
};

// Position and sequence of the last counts[s] of keys[s] tokens of each sequence.
struct Places {
  std::vector<int32_t> positions, seqs;

  Places(const std::vector<int64_t>& keys, const std::vector<int64_t>& counts);
};

DType cache_dtype(const std::string& type);  // f32, bf16, q8
// A state for `heads` heads (of all layers) a token; `name`: keys or values.
int32_t cache_state(Maker& m, const std::string& name, DType dtype, int64_t blocks, int64_t heads, int64_t head_dim);

}  // namespace verdant::check
