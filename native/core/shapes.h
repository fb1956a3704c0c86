// Sizes of a node's tensors against what its op says: nothing that a program declares can make a kernel leave its data.
#pragma once
#include <vector>

#include "core/program.h"

namespace verdant {

// Weights of a node that are packed in panels: the matrices of linear, embed, moe and conv1d.
std::vector<int32_t> panel_inputs(const Node& node);
// By value: whether panel_inputs of any node names it.
std::vector<bool> panel_weights(const Program& program);
// Bytes of a state. Throws ERR_UNSUPPORTED for a dtype that no op keeps, ERR_OUT_OF_MEMORY beyond 2^46.
int64_t state_bytes(const Value& value);
// What can be said before sizes are known: weights, panels, states, the loop. Throws ERR_GRAPH.
void check_program(const Program& program);
// Every node with the sizes of a step; throws ERR_GRAPH naming node, tensor, expected and found.
void check_shapes(const Program& program, const std::vector<int64_t>& dims);

}  // namespace verdant
