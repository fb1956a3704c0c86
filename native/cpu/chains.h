// Runs of ops that work row by row on the same rows, so that a thread takes its rows through all of them between two
// barriers: residual, norm and the rounding of a linear; rope and KV write; activation and rounding.
#pragma once
#include <cstdint>
#include <vector>

#include "core/program.h"

namespace verdant {

struct RowChain {
  int32_t first, last;  // nodes first .. last - 1
  DimRef rows;
  bool rounds;  // the last node is a linear, of which only the rounding of x belongs to the chain
};

// Chains of two nodes and more, in order. `by_rows[n]`: phase 0 of node n reads and writes only row r of its values for
// row r. A linear ends a chain: its products need all of x.
std::vector<RowChain> row_chains(const Program& program, const std::vector<bool>& by_rows);
// By node, for the arena: threads are at different nodes of a chain, so what one reads stays until all of it has run.
std::vector<int32_t> held_until(const Program& program, const std::vector<RowChain>& chains);

}  // namespace verdant
