// A Program on a GPU: its nodes on one stream, captured as a graph where the same sizes come again.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "cuda/fuse.h"
#include "cuda/memory.h"
#include "cuda/op.h"

namespace verdant::cuda {

// What an executable shares with its model: weights and state.
struct BoundValue {
  Tensor tensor{};
  std::shared_ptr<void> keepalive;
};

class Graph {
 public:
  explicit Graph(cudaGraph_t graph) {
    const cudaError_t error = cudaGraphInstantiate(&exec_, graph, 0);
    cudaGraphDestroy(graph);
    check(error);
  }
  ~Graph() { cudaGraphExecDestroy(exec_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  operator cudaGraphExec_t() const { return exec_; }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

class CudaExecutable : public Executable {
 public:
  CudaExecutable(int32_t device, Program program, std::vector<BoundValue> bound);
  ~CudaExecutable() override;

  const Program& program() const override { return program_; }
  void run(Step& step, const std::atomic<bool>& cancelled) override;
  ExecutableInfo info() const override;
  void set_profiling(bool on) override { profiling_ = on; }
  // What the GPU needed for the nodes of the last step, inputs and outputs not counted; measured once it was asked for.
  void set_timing(bool on) { timing_ = on ? std::make_unique<Timing>() : nullptr; }
  float milliseconds() const;

 private:
  struct BoundNode {
    const CudaOp* op;
    std::vector<uint8_t> attrs;
    OpCall call;
  };
  // Steps of the same sizes: where their inputs and outputs lie, and the captured work of one of them.
  struct Sizes {
    std::vector<int64_t> inputs, outputs;  // offsets
    int64_t input_bytes = 0, output_bytes = 0;
    int64_t steps = 0;
    std::unique_ptr<Graph> graph;
  };

  struct Timing {
    Event begin, end;
  };

  void resolve_nodes();
  Compute resolve_compute(const Node& node, const CudaOp& op) const;
  Compute values_compute(int32_t value) const;
  template <class F>
  void each_segment(const Node& node, F f) const;
  std::string compute_names(size_t n) const;
  Sizes& sizes_of(const std::vector<int64_t>& dims);
  void bind(const std::vector<int64_t>& dims, const Sizes& sizes);
  void upload(const Step& step, const Sizes& sizes);
  std::array<const OpCall*, kMaxFused> calls_of(const Fusion& f) const;
  void enqueue(const std::atomic<bool>& cancelled);
  void enqueue_profiled(const std::atomic<bool>& cancelled);
  void run_once(Sizes& sizes, const std::atomic<bool>& cancelled);
  void collect(const Sizes& sizes, int32_t iteration);
  void enqueue_advance(const Step& step, const Sizes& sizes, int32_t iteration);
  void read_status(Step& step) const;
  void wait();

  const int32_t device_;
  const Program program_;
  const std::vector<BoundValue> bound_;
  const std::vector<int32_t> input_index_, output_index_;  // by value, -1: none
  std::vector<BoundNode> nodes_;
  Stream stream_;
  DeviceBuffer tickets_{kTickets * 4};
  Gpu gpu_{};
  Event done_{cudaEventBlockingSync | cudaEventDisableTiming};

  const std::vector<Fusion> fusions_;
  ArenaPlanner planner_;
  DeviceBuffer arena_, workspace_, inputs_, outputs_, status_;
  PinnedBuffer staging_, collected_, statuses_;
  std::map<std::vector<int64_t>, Sizes> sizes_;
  std::vector<int64_t> bound_dims_;  // of the last bind
  bool bound_once_ = false;

  std::unique_ptr<Timing> timing_;
  std::atomic<bool> profiling_{false};
  std::vector<std::unique_ptr<Event>> events_;
  mutable std::mutex profile_mutex_;
  std::vector<int64_t> node_ns_, node_calls_;
  std::atomic<int64_t> steps_{0}, memory_{0};
};

}  // namespace verdant::cuda
