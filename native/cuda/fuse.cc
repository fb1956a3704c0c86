#include "cuda/fuse.h"

#include <algorithm>

namespace verdant::cuda {
namespace {

bool is_norm(const Node& node) { return node.op == "rms_norm" || node.op == "layer_norm"; }

// Whether node `b` reads first what node `a` makes.
bool feeds(const Node& a, const Node& b, size_t input = 0) {
  return !a.outputs.empty() && b.inputs.size() > input && b.inputs[input] == a.outputs[0];
}

bool same_shape(const Program& program, int32_t a, int32_t b) {
  const auto &x = program.values[a].shape, &y = program.values[b].shape;
  return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), [](const DimRef& p, const DimRef& q) {
           return p.dim == q.dim && p.size == q.size;
         });
}

// A norm over whole rows: not one of groups within them.
bool norms_rows(const Program& program, const Node& node) {
  const auto &x = program.values[node.inputs[0]].shape, &weight = program.values[node.inputs[1]].shape;
  return is_norm(node) && x.size() == 2 && x[1].dim < 0 && x[1].size == weight[0].size;
}

bool sums_rows(const Program& program, const Node& node) {
  return node.op == "add" && same_shape(program, node.inputs[0], node.inputs[1]);
}

void norm(const OpCall& call, const OpCall* add, const RoundTarget& round, const Gpu& gpu, bool layer) {
  layer ? layer_norm_rows(call, add, round, gpu) : rms_norm_rows(call, add, round, gpu);
}

template <bool kLayer>
void add_norm(const OpCall* const* c, const Gpu& gpu) {
  norm(*c[1], c[0], {}, gpu, kLayer);
}
template <bool kLayer>
void add_norm_linear(const OpCall* const* c, const Gpu& gpu) {
  norm(*c[1], c[0], linear_target(*c[2]), gpu, kLayer);
  linear_of_rounded(*c[2], gpu);
}
template <bool kLayer>
void norm_linear(const OpCall* const* c, const Gpu& gpu) {
  norm(*c[0], nullptr, linear_target(*c[1]), gpu, kLayer);
  linear_of_rounded(*c[1], gpu);
}
void activation_linear(const OpCall* const* c, const Gpu& gpu) {
  activation_rows(*c[0], linear_target(*c[1]), gpu);
  linear_of_rounded(*c[1], gpu);
}
void gated_linear(const OpCall* const* c, const Gpu& gpu) {
  gated_rows(*c[0], linear_target(*c[1]), gpu);
  linear_of_rounded(*c[1], gpu);
}
void rope_write(const OpCall* const* c, const Gpu& gpu) { rope_and_write(*c[0], *c[1], *c[2], gpu); }

// What begins at node n; count 0: nothing.
Fusion fusion_at(const Program& program, int32_t n) {
  const auto& nodes = program.nodes;
  const auto node = [&](int32_t i) -> const Node* {
    return n + i < static_cast<int32_t>(nodes.size()) ? &nodes[n + i] : nullptr;
  };
  const Node &a = nodes[n], *b = node(1), *c = node(2);
  if (b == nullptr) return {n, 0, nullptr};
  const bool layer = (is_norm(a) ? a : *b).op == "layer_norm";
  if (sums_rows(program, a) && norms_rows(program, *b) && feeds(a, *b)) {
    if (c != nullptr && c->op == "linear" && feeds(*b, *c))
      return {n, 3, layer ? add_norm_linear<true> : add_norm_linear<false>};
    return {n, 2, layer ? add_norm<true> : add_norm<false>};
  }
  if (b->op == "linear" && feeds(a, *b)) {
    if (norms_rows(program, a)) return {n, 2, layer ? norm_linear<true> : norm_linear<false>};
    const bool rows = !a.inputs.empty() && program.values[a.inputs[0]].shape.size() == 2;
    if (a.op == "activation" && rows) return {n, 2, activation_linear};
    if (a.op == "gated" && rows) return {n, 2, gated_linear};
  }
  if (a.op == "rope" && b->op == "rope" && c != nullptr && c->op == "kv_write" && feeds(*b, *c) &&
      b->attrs.at("head_dim") == c->attrs.at("head_dim") && program.values[c->inputs[2]].dtype != kU8)
    return {n, 3, rope_write};
  return {n, 0, nullptr};
}

}  // namespace

std::vector<Fusion> find_fusions(const Program& program) {
  std::vector<Fusion> all;
  for (int32_t n = 0; n < static_cast<int32_t>(program.nodes.size());) {
    const Fusion found = fusion_at(program, n);
    if (found.count > 0) all.push_back(found);
    n += std::max(1, found.count);
  }
  return all;
}

std::vector<int32_t> held_until(const Program& program, const std::vector<Fusion>& fusions) {
  std::vector<int32_t> until(program.nodes.size());
  for (size_t n = 0; n < until.size(); n++) until[n] = static_cast<int32_t>(n);
  for (const Fusion& f : fusions)
    for (int32_t n = f.first; n < f.first + f.count; n++) until[n] = f.first + f.count - 1;
  return until;
}

}  // namespace verdant::cuda
