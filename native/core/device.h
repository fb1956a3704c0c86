// The device interface: what the CPU implements and CUDA will.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/program.h"

namespace verdant {

// One call of an executable: inputs were copied in before it was queued, outputs belong to it.
struct Step {
  std::vector<int64_t> dims;                 // by index of program.dims
  std::vector<std::vector<uint8_t>> inputs;  // by order of input values
  int32_t k = 1;                             // decode steps (programs with a loop)
  struct OutputBuffer {
    std::unique_ptr<uint8_t[]> data;  // k slices of `bytes`
    int64_t bytes = 0;
  };
  std::vector<OutputBuffer> outputs;  // by order of program.outputs
  std::vector<int32_t> status;        // (k, seqs): 0 runs, 1 stopped at this step, 2 was stopped, 3 NaN
  int32_t steps_done = 0;
};

struct NodeProfile {
  std::string name, op, compute;
  int64_t nanoseconds = 0;
  int64_t calls = 0;
};

struct ExecutableInfo {
  std::vector<NodeProfile> nodes;
  int64_t arena_bytes = 0;
  int64_t steps = 0;
  int64_t stages = 0;  // of the last step: what ran between two barriers
};

class Executable {
 public:
  virtual ~Executable() = default;
  virtual const Program& program() const = 0;
  // Runs on the device's engine thread; `cancelled` is looked at between nodes. Throws Error.
  virtual void run(Step& step, const std::atomic<bool>& cancelled) = 0;
  virtual ExecutableInfo info() const = 0;
  virtual void set_profiling(bool on) = 0;
};

// Progress and cancellation of a compile.
struct CompileControl {
  std::atomic<bool> cancelled{false};
  std::atomic<int64_t> bytes_done{0};
  std::atomic<int64_t> bytes_total{0};
};

struct ModelInfo {
  int64_t weight_bytes = 0;
  int64_t state_bytes = 0;
  int64_t device_free = 0, device_total = 0;  // memory of the device's own; 0: it uses the host's
};

// Bytes read and operations per second, at most; 0: not measured here.
struct DeviceCeilings {
  double stream = 0, f32 = 0, bf16 = 0;
};

class Model {
 public:
  virtual ~Model() = default;
  // What the device can do; takes its time and memory. On the engine thread. CPUs have an addon of their own for it.
  virtual DeviceCeilings ceilings() const { return {}; }
  virtual std::shared_ptr<Executable> compile(Program program, CompileControl& control) = 0;
  virtual ModelInfo info() const = 0;
};

struct OpenOptions {
  int32_t threads = 0;  // 0: as many as the device has
  int32_t priority = 0;
};

struct DeviceInfo {
  std::string name;         // cpu, cpu:avx2, cuda:0
  std::string description;  // the tier, or why it is absent
  bool usable = true;
  int32_t threads = 1;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::vector<DeviceInfo> list() const = 0;
  virtual std::shared_ptr<Model> open(const std::string& name, const OpenOptions& options) = 0;
  // Runs a job on the engine thread of this device, higher priority first, then in order of arrival.
  virtual void submit(int32_t priority, std::function<void()> job) = 0;
};

}  // namespace verdant
