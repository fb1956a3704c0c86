#include "cuda/fuse.h"

#include <algorithm>

#include "ops/attention.h"

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
void add_norm(const FusedCalls& c, const Gpu& gpu) {
  norm(c[1], &c[0], {}, gpu, kLayer);
}
template <bool kLayer>
void add_norm_linear(const FusedCalls& c, const Gpu& gpu) {
  norm(c[1], &c[0], linear_target(c[2], gpu, c.is_alone(1)), gpu, kLayer);
  linear_of_rounded(c[2], gpu);
}
template <bool kLayer>
void norm_linear(const FusedCalls& c, const Gpu& gpu) {
  norm(c[0], nullptr, linear_target(c[1], gpu, c.is_alone(0)), gpu, kLayer);
  linear_of_rounded(c[1], gpu);
}
void activation_linear(const FusedCalls& c, const Gpu& gpu) {
  activation_rows(c[0], linear_target(c[1], gpu, c.is_alone(0)), gpu);
  linear_of_rounded(c[1], gpu);
}
void gated_linear(const FusedCalls& c, const Gpu& gpu) {
  gated_rows(c[0], linear_target(c[1], gpu, c.is_alone(0)), gpu);
  linear_of_rounded(c[1], gpu);
}

// A call whose workspace begins behind `bytes` of another one's.
int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
OpCall behind(const OpCall& call, int64_t bytes) {
  OpCall out = call;
  out.workspace += aligned(bytes);
  return out;
}

int64_t attention_linear_bytes(const OpCall* const* c) {
  return aligned(attention_workspace(*c[0])) + linear_workspace(*c[1]);
}
void attention_linear(const FusedCalls& c, const Gpu& gpu) {
  const OpCall linear = behind(c[1], attention_workspace(c[0]));
  attention_rows(c[0], linear_target(linear, gpu, false), gpu) ? linear_of_rounded(linear, gpu)
                                                               : linear_of_rows(linear, gpu);
}

// Both linears hold a rounded x in the workspace at the same time.
int64_t feed_forward_bytes(const OpCall& linears, const OpCall& down) {
  return aligned(linear_workspace(linears)) + linear_workspace(down);
}
// c: linears, what gates them, the linear of that.
void feed_forward(const FusedCalls& c, const Gpu& gpu) {
  const OpCall second = behind(c[2], linear_workspace(c[0]));
  const RoundTarget round = linear_target(second, gpu, c.is_alone(1));
  if (!linear_gated(c[0], c[1], round, gpu)) {
    linear_of_rounded(c[0], gpu);
    gated_rows(c[1], round, gpu);
  }
  linear_of_rounded(second, gpu);
}
template <bool kLayer>
void norm_feed_forward(const FusedCalls& c, const Gpu& gpu) {
  norm(c[0], nullptr, linear_target(c[1], gpu, c.is_alone(0)), gpu, kLayer);
  feed_forward(c.from(1), gpu);
}
template <bool kLayer>
void add_norm_feed_forward(const FusedCalls& c, const Gpu& gpu) {
  norm(c[1], &c[0], linear_target(c[2], gpu, c.is_alone(1)), gpu, kLayer);
  feed_forward(c.from(2), gpu);
}
int64_t norm_feed_forward_bytes(const OpCall* const* c) { return feed_forward_bytes(*c[1], *c[3]); }
int64_t add_norm_feed_forward_bytes(const OpCall* const* c) { return feed_forward_bytes(*c[2], *c[4]); }

void rope_write(const FusedCalls& c, const Gpu& gpu) { rope_and_write(c[0], c[1], c[2], gpu); }

// kRope: nodes of rope lie before the cache write, at `write`.
template <bool kRope>
int64_t write_attention_bytes(const OpCall* const* c) {
  return attention_linear_bytes(c + 2 * kRope + 1);
}
template <bool kRope>
void write_attention_linear(const FusedCalls& c, const Gpu& gpu) {
  const FusedCalls write = c.from(2 * kRope);
  const OpCall linear = behind(write[2], attention_workspace(write[1]));
  const RoundTarget round = linear_target(linear, gpu, false);
  if (turned_attention(kRope ? &c[0] : nullptr, kRope ? &c[1] : nullptr, write[0], write[1], round, gpu))
    return round.wanted() ? linear_of_rounded(linear, gpu) : linear_of_rows(linear, gpu);
  kRope ? rope_write(c, gpu) : kv_write_rows(write[0], gpu);
  attention_linear(write.from(1), gpu);
}

int32_t readers(const Program& program, int32_t value) {
  int64_t count = 0;
  for (const Node& node : program.nodes) count += std::count(node.inputs.begin(), node.inputs.end(), value);
  for (const Output& o : program.outputs) count += o.value == value;
  return static_cast<int32_t>(count);
}

// The nodes from n on, as far as there are some.
class Nodes {
 public:
  Nodes(const Program& program, int32_t n) : program_(program), n_(n) {}
  const Node* operator[](int32_t i) const {
    return n_ + i < static_cast<int32_t>(program_.nodes.size()) ? &program_.nodes[n_ + i] : nullptr;
  }
  // Node i is a linear that reads what node i - 1 makes.
  bool linear_at(int32_t i) const {
    const Node *before = (*this)[i - 1], *node = (*this)[i];
    return node != nullptr && node->op == "linear" && feeds(*before, *node);
  }
  // Nodes i .. i + 2 are two linears of one x, what gates them, which alone reads them, and a linear of that.
  bool feed_forward_at(int32_t i) const {
    const Node *linears = (*this)[i], *gated = (*this)[i + 1];
    return linear_at(i) && linears->outputs.size() == 2 && gated != nullptr && gated->op == "gated" &&
           gated->inputs == linears->outputs && readers(program_, linears->outputs[0]) == 1 &&
           readers(program_, linears->outputs[1]) == 1 && linear_at(i + 2);
  }

 private:
  const Program& program_;
  const int32_t n_;
};

// A norm at node n or, after a residual sum, n + 1, and the linears behind it.
Fusion norm_fusion(const Program& program, int32_t n) {
  const Nodes nodes(program, n);
  const bool add = sums_rows(program, *nodes[0]);
  const Node* found = nodes[add];
  if (found == nullptr || !norms_rows(program, *found) || (add && !feeds(*nodes[0], *found))) return {n, 0, nullptr};
  const bool layer = found->op == "layer_norm";
  if (add) {
    if (nodes.feed_forward_at(2))
      return {n, 5, layer ? add_norm_feed_forward<true> : add_norm_feed_forward<false>, add_norm_feed_forward_bytes};
    if (nodes.linear_at(2)) return {n, 3, layer ? add_norm_linear<true> : add_norm_linear<false>};
    return {n, 2, layer ? add_norm<true> : add_norm<false>};
  }
  if (nodes.feed_forward_at(1))
    return {n, 4, layer ? norm_feed_forward<true> : norm_feed_forward<false>, norm_feed_forward_bytes};
  if (nodes.linear_at(1)) return {n, 2, layer ? norm_linear<true> : norm_linear<false>};
  return {n, 0, nullptr};
}

// Nodes n .. n + 2 are a cache write that `rope` nodes of rope feed, attention that reads what was written and, alone,
// those nodes' q, and a linear of that.
bool write_attention_at(const Program& program, int32_t n, bool rope) {
  const Nodes nodes(program, n);
  const Node *write = nodes[0], *attention = nodes[1];
  if (write == nullptr || write->op != "kv_write" || attention == nullptr || attention->op != "attention" ||
      !nodes.linear_at(2))
    return false;
  const auto same = [&](size_t written, size_t read) { return write->inputs[written] == attention->inputs[read]; };
  const auto equal = [&](const char* attr) { return write->attrs.at(attr) == attention->attrs.at(attr); };
  if (program.values[write->inputs[2]].dtype == kU8 || attention->inputs.size() <= kAttPositions || !same(2, kAttK) ||
      !same(3, kAttV) || !same(4, kAttTable) || !same(5, kAttPositions) || !equal("layer") || !equal("kv_heads") ||
      !equal("head_dim"))
    return false;
  if (!rope) return true;
  const Node &q = program.nodes[n - 2], &k = program.nodes[n - 1];
  return feeds(q, *attention) && readers(program, q.outputs[0]) == 1 && readers(program, k.outputs[0]) == 1 &&
         q.attrs.at("head_dim") == attention->attrs.at("head_dim");
}

// Rope of q and of k and the cache write of that k, or this write alone, and what follows.
Fusion write_fusion(const Program& program, int32_t n) {
  const Nodes nodes(program, n);
  const Node &a = *nodes[0], *b = nodes[1], *c = nodes[2];
  if (a.op == "kv_write" && write_attention_at(program, n, false))
    return {n, 3, write_attention_linear<false>, write_attention_bytes<false>};
  if (a.op != "rope" || b == nullptr || b->op != "rope" || c == nullptr || c->op != "kv_write" || !feeds(*b, *c) ||
      b->attrs.at("head_dim") != c->attrs.at("head_dim") || program.values[c->inputs[2]].dtype == kU8)
    return {n, 0, nullptr};
  if (feeds(a, *b) || feeds(a, *c, 1) || feeds(*b, *c, 1)) return {n, 0, nullptr};  // a kernel does not wait for itself
  if (write_attention_at(program, n + 2, true))
    return {n, 5, write_attention_linear<true>, write_attention_bytes<true>};
  return {n, 3, rope_write};
}

// What begins at node n; count 0: nothing.
Fusion fusion_at(const Program& program, int32_t n) {
  const Fusion norm = norm_fusion(program, n);
  if (norm.count > 0) return norm;
  const Nodes nodes(program, n);
  const Node& a = *nodes[0];
  const bool rows = !a.inputs.empty() && program.values[a.inputs[0]].shape.size() == 2;
  if (a.op == "activation" && rows && nodes.linear_at(1)) return {n, 2, activation_linear};
  if (a.op == "gated" && rows && nodes.linear_at(1)) return {n, 2, gated_linear};
  if (a.op == "attention" && nodes.linear_at(1)) return {n, 2, attention_linear, attention_linear_bytes};
  return write_fusion(program, n);
}

// Of FusedCalls.
uint32_t alone_of(const Program& program, const Fusion& f) {
  uint32_t alone = 0;
  for (int32_t i = 0; i + 1 < f.count; i++) {
    const Node &node = program.nodes[f.first + i], &next = program.nodes[f.first + i + 1];
    if (feeds(node, next) && node.outputs.size() == 1 && readers(program, node.outputs[0]) == 1) alone |= 1u << i;
  }
  return alone;
}

}  // namespace

std::vector<Fusion> find_fusions(const Program& program) {
  std::vector<Fusion> all;
  for (int32_t n = 0; n < static_cast<int32_t>(program.nodes.size());) {
    Fusion found = fusion_at(program, n);
    found.alone = alone_of(program, found);
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
