// Neighbouring nodes that run as fewer kernels than one each, with the bits that they have one by one.
#pragma once
#include <vector>

#include "core/program.h"
#include "cuda/linear.h"

namespace verdant::cuda {

// The calls of fused nodes, in order. `alone`, a bit each: what the node makes is read by the next one alone.
struct FusedCalls {
  const OpCall* const* calls;
  uint32_t alone;
  const OpCall& operator[](int32_t i) const { return *calls[i]; }
  bool is_alone(int32_t i) const { return (alone >> i & 1) != 0; }
  FusedCalls from(int32_t i) const { return {calls + i, alone >> i}; }
};

// Nodes first .. first + count - 1, run together.
struct Fusion {
  int32_t first, count;
  void (*run)(const FusedCalls& calls, const Gpu& gpu);
  int64_t (*workspace)(const OpCall* const* calls) = nullptr;  // where more is needed than each node needs
  uint32_t alone = 0;                                          // of FusedCalls
};

constexpr int32_t kMaxFused = 5;

// In order, without overlaps.
std::vector<Fusion> find_fusions(const Program& program);

// By node, for the arena: what a fused node reads stays until all of its kernel has run.
std::vector<int32_t> held_until(const Program& program, const std::vector<Fusion>& fusions);

// The kernels of fusions. `add`: the residual sum that makes the norm's x, or null.
void rms_norm_rows(const OpCall& call, const OpCall* add, const RoundTarget& round, const Gpu& gpu);
void layer_norm_rows(const OpCall& call, const OpCall* add, const RoundTarget& round, const Gpu& gpu);
void activation_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu);
void gated_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu);
// y = fn(gate) up of a call of linear with the outputs gate and up, rounded too; false, nothing done: it has no kernel
// for these sizes and types.
bool linear_gated(const OpCall& linears, const OpCall& gated, const RoundTarget& round, const Gpu& gpu);
// Whether y was rounded too: that is so where all rows are merged from chunks.
bool attention_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu);
// Rope of q and of k (null: there is none), the cache write of that k and of v, and attention, as one kernel; y is
// rounded where that is wanted. False, nothing done: it has none for these sizes and types.
bool turned_attention(const OpCall* q, const OpCall* k, const OpCall& write, const OpCall& attention,
                      const RoundTarget& round, const Gpu& gpu);
int64_t attention_workspace(const OpCall& call);
void linear_of_rows(const OpCall& call, const Gpu& gpu);
void linear_of_rounded(const OpCall& call, const Gpu& gpu);
// Where rows of x go in the forms that a linear wants. only_reader: of x.
RoundTarget linear_target(const OpCall& call, const Gpu& gpu, bool only_reader);
void kv_write_rows(const OpCall& call, const Gpu& gpu);
// rope of q, rope of k, and the cache write of that k and of v.
void rope_and_write(const OpCall& q, const OpCall& k, const OpCall& write, const Gpu& gpu);

}  // namespace verdant::cuda
