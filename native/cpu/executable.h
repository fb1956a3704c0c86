// A Program on the CPU: resolved kernels, an arena, and the loop over stages that a team of threads runs.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/team.h"
#include "cpu/chains.h"
#include "cpu/memory.h"

namespace verdant {

// What an executable shares with its model: packed weights and state, by name.
struct BoundValue {
  Tensor tensor{};  // weights and states: resolved once
  std::shared_ptr<void> keepalive;
};

class CpuExecutable : public Executable {
 public:
  CpuExecutable(Program program, const KernelTable& kernels, int32_t threads, std::vector<BoundValue> bound);

  const Program& program() const override { return program_; }
  void run(Step& step, const std::atomic<bool>& cancelled) override;
  ExecutableInfo info() const override;
  void set_profiling(bool on) override { profiling_ = on; }

 private:
  static constexpr int64_t kWatch = 16'000'000, kAloneFirst = 10'000'000, kAloneMost = 200'000'000;  // ns

  struct BoundNode {
    const Kernel* kernel;
    std::vector<uint8_t> attrs;
    OpCall call;
  };
  struct Phase {
    int32_t node, phase;
    int64_t tasks;
    bool starts;  // the node's first phase that has tasks
    decltype(Kernel::run) run;
  };
  // From one barrier to the next: phases over all threads, each range of tasks through all of them; then small phases,
  // by the last thread that comes to the barrier.
  struct Stage {
    size_t first, serial, end;  // of phases_: first .. serial - 1 over all threads, serial .. end - 1 by one
    int64_t tasks, chunk;       // chunk: tasks that a thread takes at once
  };

  std::vector<bool> nodes_by_rows() const;
  void resolve_nodes();
  Compute resolve_compute(const Node& node) const;
  std::string compute_names(size_t n) const;
  std::vector<PanelSegment> segments_of(const Node& node) const;
  void bind(Step& step, int32_t iteration);
  void plan_stages();
  bool run_stages(const std::atomic<bool>& cancelled);
  void watch_cores(int64_t began_ns);
  void add_serial(const Phase& phase);
  void add_parallel(size_t first);
  void add_phases(int32_t n, int32_t from);
  int32_t add_chain(const RowChain& chain);
  void count_time(const Phase& phase);
  void finish_stage(int32_t s, const std::atomic<bool>& cancelled);
  void thread_main(const std::atomic<bool>& cancelled);
  bool advance(Step& step, int32_t iteration) const;

  const Program program_;
  const KernelTable kernels_;
  const int32_t threads_;
  const std::vector<BoundValue> bound_;
  const std::vector<int32_t> input_index_, output_index_;  // by value, -1: none
  std::vector<BoundNode> nodes_;

  const std::vector<RowChain> chains_;
  ArenaPlanner planner_;
  Pages arena_, workspace_;
  std::vector<int64_t> shaped_;  // dims of the last step whose shapes were found right
  std::vector<Phase> phases_;
  std::vector<Stage> stages_;
  std::unique_ptr<std::atomic<int64_t>[]> next_;
  size_t next_size_ = 0;
  int32_t step_threads_ = 1;
  // Until when steps run on one thread because others use the cores, and for how long it will be next time.
  int64_t alone_until_ = 0, alone_for_ = kAloneFirst;
  int64_t watched_ns_ = 0, watched_wait_ns_ = -1;  // of steps on all threads since the last look; its time of waiting
  Barrier barrier_;
  std::atomic<int32_t> stop_at_{0};  // the stage after which all threads leave

  std::atomic<bool> profiling_{false};
  int64_t counted_ns_ = 0;  // until when this step's time has been counted
  mutable std::mutex profile_mutex_;
  std::vector<int64_t> node_ns_, node_calls_;
  std::atomic<int64_t> steps_{0}, step_stages_{0};
};

}  // namespace verdant
