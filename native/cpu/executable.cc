#include "cpu/executable.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>

#if defined(__linux__)
#include <fcntl.h>
#include <unistd.h>
#endif

#include "core/checks.h"
#include "core/error.h"
#include "core/shapes.h"
#include "core/step.h"
#include "ops/list.h"

namespace verdant {
namespace {

constexpr int64_t kSerialCost =
    16384;  // scalar operations below which a barrier costs more than a second thread brings

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

#if defined(__linux__)
struct ThreadStatistics {
  const int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  ~ThreadStatistics() {
    if (file >= 0) close(file);
  }
};
#endif

// Time that this thread was ready to run and other threads of this system had its core; 0 where it does not tell. (Time
// on a core is no measure: in a virtual machine it lacks what the host gives to others, which fewer threads do not
// bring back.)
int64_t waited_ns() {
  long long waited = 0;
#if defined(__linux__)
  thread_local const ThreadStatistics statistics;
  char text[96];
  const ssize_t size = statistics.file < 0 ? 0 : pread(statistics.file, text, sizeof text - 1, 0);
  if (size <= 0) return 0;
  text[size] = 0;
  if (std::sscanf(text, "%*s %lld", &waited) != 1) return 0;
#endif
  return waited;
}

// What a matrix and a tier must have, by Compute.
constexpr const char* kComputeNeeds[] = {"a kernel", "weights that decode to f32", "bf16 weights and a tier with BF16",
                                         "weights in blocks of 32", "weights in blocks of 256"};

}  // namespace

CpuExecutable::CpuExecutable(Program program, const KernelTable& kernels, int32_t threads,
                             std::vector<BoundValue> bound)
    : program_(std::move(program)),
      kernels_(kernels),
      threads_(threads),
      bound_(std::move(bound)),
      input_index_(input_index(program_)),
      output_index_(output_index(program_)),
      chains_(row_chains(program_, nodes_by_rows())),
      planner_(program_, held_until(program_, chains_)) {
  resolve_nodes();
  node_ns_.assign(nodes_.size(), 0);
  node_calls_.assign(nodes_.size(), 0);
}

std::vector<bool> CpuExecutable::nodes_by_rows() const {
  std::vector<bool> all;
  for (const Node& node : program_.nodes) all.push_back(kernels_.op[op_id(node.op)].rows != nullptr);
  return all;
}

void CpuExecutable::resolve_nodes() {
  for (const Node& node : program_.nodes) {
    const int32_t id = op_id(node.op);
    const OpDef& def = *kOps[id];
    BoundNode bound{&kernels_.op[id], std::vector<uint8_t>(def.attrs_size), {}};
    if (bound.kernel->run == nullptr)
      throw Error("ERR_UNSUPPORTED", "op " + node.op + " (" + node.name + ") has no kernel on this device");
    read_attrs(node, def, bound.attrs.data());
    bound.call.kernels = &kernels_;
    bound.call.in_count = static_cast<int32_t>(node.inputs.size());
    bound.call.out_count = static_cast<int32_t>(node.outputs.size());
    bound.call.compute = node.attrs.count("compute") != 0 ? resolve_compute(node) : kComputeF32;
    nodes_.push_back(std::move(bound));
  }
  for (BoundNode& node : nodes_) node.call.attrs = node.attrs.data();
}

// What was asked for, if every segment of a linear's matrices can be multiplied that way on this tier.
Compute CpuExecutable::resolve_compute(const Node& node) const {
  const std::string wanted = std::get<std::string>(node.attrs.at("compute"));
  int32_t compute = 0;
  while (wanted != kComputeNames[compute]) compute++;
  for (const PanelSegment& s : segments_of(node))
    if (segment_compute(&kernels_, static_cast<Compute>(compute), s.type) == kComputeCount)
      throw Error("ERR_UNSUPPORTED", node.op + " " + node.name + ": compute " + wanted + " needs " +
                                         kComputeNeeds[compute] + "; these weights are " + dtype_name(s.type));
  return static_cast<Compute>(compute);
}

std::vector<PanelSegment> CpuExecutable::segments_of(const Node& node) const {
  std::vector<PanelSegment> all;
  for (const int32_t v : panel_inputs(node)) {
    const PackedMatrix& matrix = *static_cast<const PackedMatrix*>(bound_[v].tensor.data);
    all.insert(all.end(), matrix.segments, matrix.segments + matrix.segment_count);
  }
  return all;
}

// The ways in which the segments of a linear's matrices are multiplied, in order.
std::string CpuExecutable::compute_names(size_t n) const {
  std::string names;
  for (const PanelSegment& s : segments_of(program_.nodes[n])) {
    const std::string name = kComputeNames[segment_compute(&kernels_, nodes_[n].call.compute, s.type)];
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

void CpuExecutable::bind(Step& step, int32_t iteration) {
  const ArenaPlan& plan = planner_.plan(step.dims);
  arena_.reserve(plan.bytes);
  const auto view = [&](int32_t v) -> Tensor {
    if (v < 0) return Tensor{};
    const Value& value = program_.values[v];
    if (value.kind == ValueKind::weight || value.kind == ValueKind::state) return bound_[v].tensor;
    Tensor t{nullptr, value.dtype, static_cast<int32_t>(value.shape.size()), {}};
    for (int32_t i = 0; i < t.rank; i++)
      t.dim[i] = value.shape[i].dim >= 0 ? step.dims[value.shape[i].dim] : value.shape[i].size;
    if (value.kind == ValueKind::input)
      t.data = step.inputs[input_index_[v]].data();
    else if (output_index_[v] >= 0)
      t.data = step.outputs[output_index_[v]].data.get() + iteration * step.outputs[output_index_[v]].bytes;
    else
      t.data = arena_.data() + plan.offsets[v];
    static uint8_t nothing[64];  // empty tensors still have an address: null means absent
    if (t.data == nullptr) t.data = nothing;
    return t;
  };
  int64_t workspace = 0;
  for (size_t n = 0; n < nodes_.size(); n++) {
    OpCall& call = nodes_[n].call;
    const Node& node = program_.nodes[n];
    for (int32_t i = 0; i < call.in_count; i++) call.in[i] = view(node.inputs[i]);
    for (int32_t i = 0; i < call.out_count; i++) call.out[i] = view(node.outputs[i]);
    if (nodes_[n].kernel->workspace != nullptr) workspace = std::max(workspace, nodes_[n].kernel->workspace(call));
  }
  workspace_.reserve(workspace);
  for (BoundNode& node : nodes_) node.call.workspace = workspace_.data();
}

void CpuExecutable::add_serial(const Phase& phase) {
  if (stages_.empty()) stages_.push_back({0, 0, 0, 0, 1});
  phases_.push_back(phase);
  stages_.back().end = phases_.size();
}

// The phases from `first` on, over all threads.
void CpuExecutable::add_parallel(size_t first) {
  const int64_t tasks = phases_[first].tasks;
  stages_.push_back({first, phases_.size(), phases_.size(), tasks, std::max<int64_t>(1, tasks / (threads_ * 4))});
}

// The phases of node n from phase `from` on, each by itself.
void CpuExecutable::add_phases(int32_t n, int32_t from) {
  const Kernel& kernel = *nodes_[n].kernel;
  const OpCall& call = nodes_[n].call;
  const bool small = threads_ == 1 || (kernel.cost != nullptr && kernel.cost(call) < kSerialCost);
  for (int32_t phase = from; phase < kernel.phases; phase++) {
    const int64_t tasks = kernel.tasks(call, phase);
    if (tasks == 0) continue;
    const Phase p = {n, phase, tasks, phases_.empty() || phases_.back().node != n, kernel.run};
    if (small || tasks == 1) {  // a single task occupies one thread anyway
      add_serial(p);
      continue;
    }
    phases_.push_back(p);
    add_parallel(phases_.size() - 1);
  }
}

// One stage of a whole chain, if there are rows for all threads and enough to do; gives the first node that is left.
int32_t CpuExecutable::add_chain(const RowChain& chain) {
  const int64_t rows = nodes_[chain.first].call.in[0].dim[0];
  int64_t cost = 0;
  for (int32_t n = chain.first; n < chain.last - chain.rounds; n++) cost += nodes_[n].kernel->cost(nodes_[n].call);
  if (profiling_ || threads_ == 1 || rows < threads_ || cost < kSerialCost) return chain.first;
  const size_t first = phases_.size();
  for (int32_t n = chain.first; n < chain.last; n++) {
    const Kernel& kernel = *nodes_[n].kernel;
    if (kernel.tasks(nodes_[n].call, 0) > 0) phases_.push_back({n, 0, rows, true, kernel.rows});
  }
  if (phases_.size() > first) add_parallel(first);
  if (chain.rounds) add_phases(chain.last - 1, 1);
  return chain.last;
}

void CpuExecutable::plan_stages() {
  stages_.clear();
  phases_.clear();
  size_t chain = 0;
  for (int32_t n = 0; n < static_cast<int32_t>(nodes_.size());) {
    const int32_t at = n;
    if (chain < chains_.size() && chains_[chain].first == n) n = add_chain(chains_[chain++]);
    if (n == at) add_phases(n++, 0);
  }
  step_stages_ = static_cast<int64_t>(stages_.size());
  const bool parallel = std::any_of(stages_.begin(), stages_.end(), [](const Stage& s) { return s.serial > s.first; });
  step_threads_ = parallel && now_ns() >= alone_until_ ? threads_ : 1;
  if (next_size_ < stages_.size()) {
    next_ = std::make_unique<std::atomic<int64_t>[]>(stages_.size());
    next_size_ = stages_.size();
  }
}

void CpuExecutable::count_time(const Phase& phase) {
  const int64_t now = now_ns();
  std::lock_guard lock(profile_mutex_);
  node_ns_[phase.node] += now - counted_ns_;
  node_calls_[phase.node] += phase.starts;
  counted_ns_ = now;
}

// What the last thread does when a stage's tasks are done.
void CpuExecutable::finish_stage(int32_t s, const std::atomic<bool>& cancelled) {
  const Stage& stage = stages_[s];
  const bool profiling = counted_ns_ != 0;
  if (profiling && stage.serial > stage.first) count_time(phases_[stage.first]);
  for (size_t i = stage.serial; i < stage.end; i++) {
    const Phase& p = phases_[i];
    p.run(nodes_[p.node].call, p.phase, 0, p.tasks);
    if (profiling) count_time(p);
  }
  if (cancelled.load(std::memory_order_relaxed)) stop_at_.store(s, std::memory_order_relaxed);
}

void CpuExecutable::thread_main(const std::atomic<bool>& cancelled) {
  const int32_t count = static_cast<int32_t>(stages_.size());
  for (int32_t s = 0; s < count; s++) {
    const Stage& stage = stages_[s];
    for (int64_t begin; (begin = next_[s].fetch_add(stage.chunk, std::memory_order_relaxed)) < stage.tasks;) {
      const int64_t end = std::min(stage.tasks, begin + stage.chunk);
      for (size_t i = stage.first; i < stage.serial; i++) {
        const Phase& p = phases_[i];
        p.run(nodes_[p.node].call, p.phase, begin, end);
      }
    }
    barrier_.wait([&] { finish_stage(s, cancelled); });
    if (stop_at_.load(std::memory_order_relaxed) <= s) return;
  }
}

bool CpuExecutable::run_stages(const std::atomic<bool>& cancelled) {
  for (size_t s = 0; s < stages_.size(); s++) next_[s].store(0, std::memory_order_relaxed);
  stop_at_.store(INT_MAX, std::memory_order_relaxed);
  counted_ns_ = profiling_ ? now_ns() : 0;
  barrier_.reset(step_threads_);
  Team::instance().run(step_threads_, [&](int32_t) { thread_main(cancelled); });
  return stop_at_.load(std::memory_order_relaxed) == INT_MAX;
}

// Where this thread waits for its core, others want the cores, and every barrier waits for a thread that has none. Then
// steps run on one thread for a while, ever longer until steps find the cores free; they are watched for longer than a
// turn of the scheduler.
void CpuExecutable::watch_cores(int64_t began_ns) {
  if (step_threads_ == 1) {
    watched_wait_ns_ = -1;
    return;
  }
  const int64_t now = now_ns();
  if (watched_wait_ns_ < 0) {  // steps on all threads begin again
    watched_wait_ns_ = waited_ns();
    watched_ns_ = 0;
    return;
  }
  watched_ns_ += now - began_ns;
  if (watched_ns_ < kWatch) return;
  const int64_t waited = waited_ns();
  const bool taken = 10 * (waited - watched_wait_ns_) > 3 * watched_ns_;
  watched_wait_ns_ = waited;
  watched_ns_ = 0;
  if (!taken) {
    alone_for_ = std::max(kAloneFirst, alone_for_ / 2);
    return;
  }
  alone_until_ = now + alone_for_;
  alone_for_ = std::min(kAloneMost, 2 * alone_for_);
}

void CpuExecutable::run(Step& step, const std::atomic<bool>& cancelled) {
  if (step.dims != shaped_ || steps_ == 0) {
    check_shapes(program_, step.dims);
    shaped_ = step.dims;
  }
  check_step(program_, input_index_, step);
  allocate_outputs(program_, step);
  step.status.clear();
  step.steps_done = 0;
  for (int32_t i = 0; i < step.k; i++) {
    bind(step, i);
    plan_stages();
    const int64_t began = now_ns();
    if (!run_stages(cancelled)) throw Error("ERR_ABORTED", "the step was cancelled");
    watch_cores(began);
    step.steps_done = i + 1;
    if (program_.has_loop && !advance(step, i)) break;
  }
  steps_ += step.steps_done;
}

// After a decode step: statuses, and the inputs of the next one. False when every sequence has stopped.
bool CpuExecutable::advance(Step& step, int32_t iteration) const {
  const Loop& loop = program_.loop;
  const auto ints = [&](int32_t value) { return reinterpret_cast<int32_t*>(step.inputs[input_index_[value]].data()); };
  const Step::OutputBuffer& out = step.outputs[output_index_[loop.ids_output]];
  const int32_t* ids = reinterpret_cast<const int32_t*>(out.data.get() + iteration * out.bytes);
  const int64_t samples = out.bytes / 4;
  const int32_t *offsets = ints(loop.stop_offsets), *stops = ints(loop.stop_ids);
  int32_t* remaining = ints(loop.remaining);
  bool running = false;
  for (int64_t s = 0; s < samples; s++) {
    int32_t status = 0;
    if (iteration > 0 && step.status[(iteration - 1) * samples + s] != 0) {
      status = 2;
    } else if (ids[s] < 0) {
      status = 3;
    } else {
      remaining[s]--;
      const bool stop = std::find(stops + offsets[s], stops + offsets[s + 1], ids[s]) != stops + offsets[s + 1];
      status = stop || remaining[s] <= 0 ? 1 : 0;
    }
    step.status.push_back(status);
    if (status != 0 || iteration + 1 == step.k) continue;
    running = true;
    ints(loop.ids_input)[s] = ids[s];
    for (int32_t value : loop.increments) ints(value)[s]++;
  }
  return running;
}

ExecutableInfo CpuExecutable::info() const {
  ExecutableInfo info;
  std::lock_guard lock(profile_mutex_);
  for (size_t n = 0; n < nodes_.size(); n++) {
    const bool multiplies = program_.nodes[n].attrs.count("compute") != 0;
    info.nodes.push_back({program_.nodes[n].name, program_.nodes[n].op, multiplies ? compute_names(n) : "", node_ns_[n],
                          node_calls_[n]});
  }
  info.arena_bytes = arena_.bytes() + workspace_.bytes();
  info.steps = steps_;
  info.stages = step_stages_;
  return info;
}

}  // namespace verdant
