#include "cuda/executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/checks.h"
#include "core/error.h"
#include "core/shapes.h"
#include "core/step.h"
#include "cuda/hopper.h"
#include "cuda/list.h"
#include "cuda/loop.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace verdant::cuda {
namespace {

constexpr int64_t kAlign = 256;
constexpr size_t kMaxSizes = 64;
constexpr auto kSpin = std::chrono::microseconds(20);

int64_t aligned(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

CudaExecutable::CudaExecutable(int32_t device, Program program, std::vector<BoundValue> bound)
    : device_(device),
      program_(std::move(program)),
      bound_(std::move(bound)),
      input_index_(input_index(program_)),
      output_index_(output_index(program_)),
      fusions_(find_fusions(program_)),
      planner_(program_, held_until(program_, fusions_)) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device_));
  gpu_ = {properties.multiProcessorCount,
          static_cast<int64_t>(properties.sharedMemPerBlockOptin),
          stream_,
          hopper_kernels(),
          dependent_launch(),
          reinterpret_cast<unsigned*>(tickets_.data())};
  check(cudaMemsetAsync(tickets_.data(), 0, static_cast<size_t>(tickets_.bytes()), stream_));
  resolve_nodes();
  node_ns_.assign(nodes_.size(), 0);
  node_calls_.assign(nodes_.size(), 0);
}

CudaExecutable::~CudaExecutable() {
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
}

void CudaExecutable::resolve_nodes() {
  for (const Node& node : program_.nodes) {
    const int32_t id = op_id(node.op);
    const OpDef& def = *kOps[id];
    BoundNode bound{&cuda_op(id), std::vector<uint8_t>(def.attrs_size), {}};
    if (bound.op->run == nullptr)
      throw Error("ERR_UNSUPPORTED", "op " + node.op + " (" + node.name + ") has no kernel on this device");
    read_attrs(node, def, bound.attrs.data());
    bound.call.in_count = static_cast<int32_t>(node.inputs.size());
    bound.call.out_count = static_cast<int32_t>(node.outputs.size());
    bound.call.compute = node.attrs.count("compute") != 0 ? resolve_compute(node, *bound.op)
                         : node.op == "attention"         ? values_compute(node.inputs[kAttV])
                                                          : kComputeF32;
    for (int32_t i = 0; i < bound.call.in_count; i++)
      if (node.inputs[i] >= 0) bound.call.in[i].dtype = program_.values[node.inputs[i]].dtype;
    nodes_.push_back(std::move(bound));
  }
  for (BoundNode& node : nodes_) node.call.attrs = node.attrs.data();
}

template <class F>
void CudaExecutable::each_segment(const Node& node, F f) const {
  for (const int32_t v : panel_inputs(node)) {
    const DeviceMatrix& matrix = *static_cast<const DeviceMatrix*>(bound_[v].tensor.data);
    for (int32_t s = 0; s < matrix.segment_count; s++) f(matrix.segments[s]);
  }
}

// What was asked for, if every segment of a linear's matrices can be multiplied that way here.
Compute CudaExecutable::resolve_compute(const Node& node, const CudaOp& op) const {
  const std::string wanted = std::get<std::string>(node.attrs.at("compute"));
  int32_t compute = 0;
  while (wanted != kComputeNames[compute]) compute++;
  each_segment(node, [&](const MatrixSegment& s) {
    if (op.compute(static_cast<Compute>(compute), s.type) == kComputeCount)
      throw Error("ERR_UNSUPPORTED", node.op + " " + node.name + ": compute " + wanted + " of " + dtype_name(s.type) +
                                         " weights has no kernel on a CUDA device");
  });
  return static_cast<Compute>(compute);
}

// Attention over rows multiplies as the linear does that makes its values, of which they may be a slice.
Compute CudaExecutable::values_compute(int32_t value) const {
  for (size_t n = nodes_.size(); n-- > 0;) {
    const Node& node = program_.nodes[n];
    if (std::find(node.outputs.begin(), node.outputs.end(), value) == node.outputs.end()) continue;
    if (node.op == "slice") {
      value = node.inputs[0];
    } else {
      return node.op == "linear" && compute_names(n) == kComputeNames[kComputeBF16] ? kComputeBF16 : kComputeF32;
    }
  }
  return kComputeF32;
}

std::string CudaExecutable::compute_names(size_t n) const {
  const BoundNode& node = nodes_[n];
  if (node.op->used != nullptr) return kComputeNames[node.op->used(node.call)];
  if (node.op->compute == nullptr) return "";
  std::string names;
  each_segment(program_.nodes[n], [&](const MatrixSegment& s) {
    const std::string name = kComputeNames[node.op->compute(node.call.compute, s.type)];
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  });
  return names;
}

CudaExecutable::Sizes& CudaExecutable::sizes_of(const std::vector<int64_t>& dims) {
  const auto found = sizes_.find(dims);
  if (found != sizes_.end()) return found->second;
  check_shapes(program_, dims);
  if (sizes_.size() >= kMaxSizes) sizes_.clear();
  Sizes sizes;
  for (size_t v = 0; v < program_.values.size(); v++) {
    if (input_index_[v] < 0) continue;
    sizes.inputs.push_back(sizes.input_bytes);
    const Value& value = program_.values[v];
    sizes.input_bytes += aligned(element_count(value, dims) * (value.dtype == kU8 ? 1 : 4));
  }
  for (const Output& o : program_.outputs) {
    sizes.outputs.push_back(sizes.output_bytes);
    sizes.output_bytes += aligned(element_count(program_.values[o.value], dims) * 4);
  }
  return sizes_.emplace(dims, std::move(sizes)).first->second;
}

// Views of all values. Graphs hold addresses: they go where memory moves.
void CudaExecutable::bind(const std::vector<int64_t>& dims, const Sizes& sizes) {
  const ArenaPlan& plan = planner_.plan(dims);
  bool moved = arena_.reserve(std::max(plan.bytes, kAlign));
  moved = inputs_.reserve(std::max(sizes.input_bytes, kAlign)) || moved;
  moved = outputs_.reserve(std::max(sizes.output_bytes, kAlign)) || moved;
  if (!moved && bound_once_ && dims == bound_dims_) return;
  bound_once_ = false;
  const auto view = [&](int32_t v) -> Tensor {
    if (v < 0) return Tensor{};
    const Value& value = program_.values[v];
    if (value.kind == ValueKind::weight || value.kind == ValueKind::state) return bound_[v].tensor;
    Tensor t{nullptr, value.dtype, static_cast<int32_t>(value.shape.size()), {}};
    for (int32_t i = 0; i < t.rank; i++)
      t.dim[i] = value.shape[i].dim >= 0 ? dims[value.shape[i].dim] : value.shape[i].size;
    t.data = value.kind == ValueKind::input ? inputs_.data() + sizes.inputs[input_index_[v]]
             : output_index_[v] >= 0        ? outputs_.data() + sizes.outputs[output_index_[v]]
                                            : arena_.data() + plan.offsets[v];
    return t;
  };
  int64_t workspace = kAlign;
  for (size_t n = 0; n < nodes_.size(); n++) {
    OpCall& call = nodes_[n].call;
    const Node& node = program_.nodes[n];
    for (int32_t i = 0; i < call.in_count; i++) call.in[i] = view(node.inputs[i]);
    for (int32_t i = 0; i < call.out_count; i++) call.out[i] = view(node.outputs[i]);
    if (nodes_[n].op->workspace != nullptr) workspace = std::max(workspace, nodes_[n].op->workspace(call));
  }
  for (const Fusion& f : fusions_)
    if (f.workspace != nullptr) workspace = std::max(workspace, f.workspace(calls_of(f).data()));
  moved = workspace_.reserve(workspace) || moved;
  for (BoundNode& node : nodes_) node.call.workspace = workspace_.data();
  if (moved)
    for (auto& [key, other] : sizes_) other.graph.reset();
  bound_dims_ = dims;
  bound_once_ = true;
  memory_ = tickets_.bytes() + arena_.bytes() + workspace_.bytes() + inputs_.bytes() + outputs_.bytes();
}

void CudaExecutable::upload(const Step& step, const Sizes& sizes) {
  staging_.reserve(std::max(sizes.input_bytes, kAlign));
  for (size_t i = 0; i < step.inputs.size(); i++)
    if (!step.inputs[i].empty())
      std::memcpy(staging_.data() + sizes.inputs[i], step.inputs[i].data(), step.inputs[i].size());
  if (sizes.input_bytes > 0)
    check(cudaMemcpyAsync(inputs_.data(), staging_.data(), static_cast<size_t>(sizes.input_bytes),
                          cudaMemcpyHostToDevice, stream_));
}

std::array<const OpCall*, kMaxFused> CudaExecutable::calls_of(const Fusion& f) const {
  std::array<const OpCall*, kMaxFused> calls{};
  for (int32_t i = 0; i < f.count; i++) calls[i] = &nodes_[f.first + i].call;
  return calls;
}

void CudaExecutable::enqueue(const std::atomic<bool>& cancelled) {
  size_t fusion = 0;
  for (size_t n = 0; n < nodes_.size();) {
    if (cancelled.load(std::memory_order_relaxed)) throw Error("ERR_ABORTED", "the step was cancelled");
    if (fusion == fusions_.size() || fusions_[fusion].first != static_cast<int32_t>(n)) {
      nodes_[n].op->run(nodes_[n].call, gpu_);
      n++;
      continue;
    }
    const Fusion& f = fusions_[fusion++];
    f.run({calls_of(f).data(), f.alone}, gpu_);
    n += f.count;
  }
}

void CudaExecutable::enqueue_profiled(const std::atomic<bool>& cancelled) {
  while (events_.size() < nodes_.size() + 1) events_.push_back(std::make_unique<Event>());
  check(cudaEventRecord(*events_[0], stream_));
  for (size_t n = 0; n < nodes_.size(); n++) {
    if (cancelled.load(std::memory_order_relaxed)) throw Error("ERR_ABORTED", "the step was cancelled");
    nodes_[n].op->run(nodes_[n].call, gpu_);
    check(cudaEventRecord(*events_[n + 1], stream_));
  }
  wait();
  std::lock_guard lock(profile_mutex_);
  for (size_t n = 0; n < nodes_.size(); n++) {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, *events_[n], *events_[n + 1]));
    node_ns_[n] += static_cast<int64_t>(1e6 * static_cast<double>(ms));
    node_calls_[n]++;
  }
}

// The nodes once; from the second step of the same sizes on as a graph.
void CudaExecutable::run_once(Sizes& sizes, const std::atomic<bool>& cancelled) {
  if (profiling_) return enqueue_profiled(cancelled);
  if (sizes.steps++ == 0) return enqueue(cancelled);
  if (sizes.graph == nullptr) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      enqueue(cancelled);
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    check(cudaStreamEndCapture(stream_, &graph));
    sizes.graph = std::make_unique<Graph>(graph);
  }
  check(cudaGraphLaunch(*sizes.graph, stream_));
}

// The outputs of one step on their way to pinned memory.
void CudaExecutable::collect(const Sizes& sizes, int32_t iteration) {
  if (sizes.output_bytes == 0) return;
  check(cudaMemcpyAsync(collected_.data() + iteration * sizes.output_bytes, outputs_.data(),
                        static_cast<size_t>(sizes.output_bytes), cudaMemcpyDeviceToHost, stream_));
}

void CudaExecutable::enqueue_advance(const Step& step, const Sizes& sizes, int32_t iteration) {
  const Loop& loop = program_.loop;
  const auto input = [&](int32_t value) {
    return reinterpret_cast<int32_t*>(inputs_.data() + sizes.inputs[input_index_[value]]);
  };
  LoopStep args{};
  args.samples = step.outputs[output_index_[loop.ids_output]].bytes / 4;
  args.ids = reinterpret_cast<const int32_t*>(outputs_.data() + sizes.outputs[output_index_[loop.ids_output]]);
  args.next_ids = input(loop.ids_input);
  args.stop_offsets = input(loop.stop_offsets);
  args.stop_ids = input(loop.stop_ids);
  args.remaining = input(loop.remaining);
  args.status = reinterpret_cast<int32_t*>(status_.data());
  args.iteration = iteration;
  args.last = iteration + 1 == step.k;
  if (loop.increments.size() > kMaxIncrements) throw Error("ERR_UNSUPPORTED", "a loop with more than 8 increments");
  for (const int32_t value : loop.increments) args.increments[args.increment_count++] = input(value);
  advance_loop(args, gpu_);
}

void CudaExecutable::wait() {
  check(cudaEventRecord(done_, stream_));
  const auto start = std::chrono::steady_clock::now();
  do {
    const cudaError_t state = cudaEventQuery(done_);
    if (state == cudaSuccess) return;
    if (state != cudaErrorNotReady) check(state);
  } while (std::chrono::steady_clock::now() - start < kSpin);
  check(cudaEventSynchronize(done_));
}

// Statuses of the steps that were done: those up to the one at which the last sequence stopped.
void CudaExecutable::read_status(Step& step) const {
  const int64_t samples = step.outputs[output_index_[program_.loop.ids_output]].bytes / 4;
  const int32_t* all = reinterpret_cast<const int32_t*>(statuses_.data());
  for (int32_t i = 0; i < step.k; i++) {
    step.status.insert(step.status.end(), all + i * samples, all + (i + 1) * samples);
    step.steps_done = i + 1;
    if (std::none_of(all + i * samples, all + (i + 1) * samples, [](int32_t s) { return s == 0; })) return;
  }
}

void CudaExecutable::run(Step& step, const std::atomic<bool>& cancelled) {
  check(cudaSetDevice(device_));
  step.status.clear();
  step.steps_done = 0;
  Sizes& sizes = sizes_of(step.dims);
  check_step(program_, input_index_, step);
  allocate_outputs(program_, step);
  bind(step.dims, sizes);
  collected_.reserve(std::max(sizes.output_bytes * step.k, kAlign));
  const int64_t samples = program_.has_loop ? step.outputs[output_index_[program_.loop.ids_output]].bytes / 4 : 0;
  const int64_t status_bytes = std::max(samples * 4 * step.k, kAlign);
  status_.reserve(status_bytes);
  statuses_.reserve(status_bytes);
  try {
    upload(step, sizes);
    if (timing_ != nullptr) check(cudaEventRecord(timing_->begin, stream_));
    for (int32_t i = 0; i < step.k; i++) {
      run_once(sizes, cancelled);
      if (timing_ != nullptr) check(cudaEventRecord(timing_->end, stream_));
      collect(sizes, i);
      if (program_.has_loop) enqueue_advance(step, sizes, i);
    }
    if (samples > 0)
      check(cudaMemcpyAsync(statuses_.data(), status_.data(), static_cast<size_t>(samples * 4 * step.k),
                            cudaMemcpyDeviceToHost, stream_));
    wait();
  } catch (...) {
    cudaStreamSynchronize(stream_);  // nothing of this step works on while the next one is prepared
    cudaGetLastError();
    throw;
  }
  step.steps_done = 1;
  if (program_.has_loop) read_status(step);
  for (size_t o = 0; o < step.outputs.size(); o++)
    for (int32_t i = 0; i < step.steps_done; i++)
      std::memcpy(step.outputs[o].data.get() + i * step.outputs[o].bytes,
                  collected_.data() + i * sizes.output_bytes + sizes.outputs[o],
                  static_cast<size_t>(step.outputs[o].bytes));
  steps_ += step.steps_done;
}

float CudaExecutable::milliseconds() const {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, timing_->begin, timing_->end));
  return ms;
}

ExecutableInfo CudaExecutable::info() const {
  ExecutableInfo info;
  std::lock_guard lock(profile_mutex_);
  for (size_t n = 0; n < nodes_.size(); n++) {
    const Node& node = program_.nodes[n];
    info.nodes.push_back({node.name, node.op, compute_names(n), node_ns_[n], node_calls_[n]});
  }
  info.arena_bytes = memory_;
  info.steps = steps_;
  info.stages = static_cast<int64_t>(nodes_.size());
  return info;
}

}  // namespace verdant::cuda
