#include "cpu/chains.h"

#include <algorithm>

namespace verdant {
namespace {

// The rows that a node works on; no dim where it cannot be part of a chain.
DimRef rows_of(const Program& program, const Node& node) {
  if (node.inputs.empty() || node.inputs[0] < 0) return {};
  const std::vector<DimRef>& shape = program.values[node.inputs[0]].shape;
  return shape.empty() ? DimRef{} : shape[0];
}

}  // namespace

std::vector<RowChain> row_chains(const Program& program, const std::vector<bool>& by_rows) {
  std::vector<RowChain> chains;
  const int32_t count = static_cast<int32_t>(program.nodes.size());
  for (int32_t n = 0, next; n < count; n = next) {
    next = n + 1;
    const DimRef rows = rows_of(program, program.nodes[n]);
    if (!by_rows[n] || rows.dim < 0) continue;
    bool rounds = program.nodes[n].op == "linear";
    while (!rounds && next < count && by_rows[next] && rows_of(program, program.nodes[next]).dim == rows.dim)
      rounds = program.nodes[next++].op == "linear";
    if (next - n > 1) chains.push_back({n, next, rows, rounds});
  }
  return chains;
}

std::vector<int32_t> held_until(const Program& program, const std::vector<RowChain>& chains) {
  std::vector<int32_t> until(program.nodes.size());
  for (size_t n = 0; n < until.size(); n++) until[n] = static_cast<int32_t>(n);
  for (const RowChain& chain : chains)  // a linear's rounding writes nothing here
    for (int32_t n = chain.first; n < chain.last; n++) until[n] = std::max(n, chain.last - (chain.rounds ? 2 : 1));
  return until;
}

}  // namespace verdant
