#include "cuda/device.h"

#include <map>
#include <mutex>
#include <string>

#include "core/error.h"
#include "core/job_queue.h"
#include "core/shapes.h"
#include "core/team.h"
#include "cuda/ceilings.h"
#include "cuda/executable.h"
#include "cuda/weights.h"

namespace verdant::cuda {
namespace {

#if defined(VERDANT_EMULATED)
constexpr int64_t kCeilingBytes = 1 << 20;
#else
constexpr int64_t kCeilingBytes = int64_t{1} << 30;  // far beyond every cache
#endif

class CudaModel : public Model {
 public:
  CudaModel(int32_t device, int32_t threads) : device_(device), threads_(threads) {}

  std::shared_ptr<Executable> compile(Program program, CompileControl& control) override {
    check_program(program);
    check(cudaSetDevice(device_));
    const std::vector<bool> panels = panel_weights(program);
    for (const Value& value : program.values)
      if (value.kind == ValueKind::weight) control.bytes_total += stored_bytes(*value.weight);
    std::vector<BoundValue> bound(program.values.size());
    UploadWorkers workers;
    for (size_t v = 0; v < program.values.size(); v++) {
      const Value& value = program.values[v];
      if (value.kind == ValueKind::weight) bound[v] = bind_weight(value, panels[v], workers, control);
      if (value.kind == ValueKind::state) bound[v] = bind_state(value);
    }
    return std::make_shared<CudaExecutable>(device_, std::move(program), std::move(bound));
  }

  DeviceCeilings ceilings() const override {
    check(cudaSetDevice(device_));
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, device_));
    const Arithmetic most = measure_arithmetic(p.multiProcessorCount);
    return {measure_bandwidth(kCeilingBytes, p.multiProcessorCount).read, most.f32, most.bf16};
  }

  ModelInfo info() const override {
    ModelInfo info;
    size_t free = 0, total = 0;
    check(cudaSetDevice(device_));
    check(cudaMemGetInfo(&free, &total));
    info.device_free = static_cast<int64_t>(free);
    info.device_total = static_cast<int64_t>(total);
    std::lock_guard lock(mutex_);
    for (const auto& [key, weight] : weights_) info.weight_bytes += weight.second;
    for (const auto& [name, state] : states_) info.state_bytes += state->bytes();
    return info;
  }

 private:
  static Tensor view(const Value& value, void* data, DType dtype) {
    Tensor t{data, dtype, static_cast<int32_t>(value.shape.size()), {}};
    for (size_t i = 0; i < value.shape.size(); i++) t.dim[i] = value.shape[i].size;
    return t;
  }

  BoundValue bind_weight(const Value& value, bool panels, UploadWorkers& workers, CompileControl& control) {
    const std::string key = (panels ? "" : "vector ") + weight_key(*value.weight);
    if (panels) {
      auto held = upload_matrix(device_, value.weight, threads_, workers, control);
      remember(key, held, held->bytes);
      return {view(value, &held->matrix, kF32), held};
    }
    auto held = upload_floats(value.weight);
    control.bytes_done += stored_bytes(*value.weight);
    remember(key, held, held->bytes());
    return {view(value, held->data(), kF32), held};
  }

  void remember(const std::string& key, std::shared_ptr<void> held, int64_t bytes) {
    std::lock_guard lock(mutex_);
    weights_[key] = {std::move(held), bytes};
  }

  static std::shared_ptr<DeviceBuffer> zeroed(int64_t bytes) {
    auto made = std::make_shared<DeviceBuffer>(bytes);
    const Stream stream;
    if (bytes > 0) check(cudaMemsetAsync(made->data(), 0, static_cast<size_t>(bytes), stream));
    stream.wait();
    return made;
  }

  BoundValue bind_state(const Value& value) {
    const int64_t bytes = state_bytes(value);
    std::lock_guard lock(mutex_);
    const auto known = states_.find(value.name);
    const std::shared_ptr<DeviceBuffer> buffer = known != states_.end() ? known->second : zeroed(bytes);
    states_.emplace(value.name, buffer);
    if (buffer->bytes() != bytes)
      throw Error("ERR_GRAPH", "state " + value.name + ": " + std::to_string(buffer->bytes()) +
                                   " bytes in an earlier program of this model, " + std::to_string(bytes) + " here");
    return {view(value, buffer->data(), value.dtype), buffer};
  }

  const int32_t device_, threads_;
  mutable std::mutex mutex_;
  std::map<std::string, std::pair<std::shared_ptr<void>, int64_t>> weights_;
  std::map<std::string, std::shared_ptr<DeviceBuffer>> states_;
};

class CudaDevice : public Device {
 public:
  // Asked of the driver once: that takes a while, and GPUs do not come and go.
  std::vector<DeviceInfo> list() const override {
    static const std::vector<DeviceInfo> all = find();
    return all;
  }

  std::shared_ptr<Model> open(const std::string& name, const OpenOptions& options) override {
    const std::vector<DeviceInfo> all = list();
    for (size_t i = 0; i < all.size(); i++) {
      if (all[i].name != name) continue;
      if (!all[i].usable) throw Error("ERR_DEVICE", "device " + name + " cannot be used here: " + all[i].description);
      const int32_t threads = options.threads > 0 ? options.threads : Team::default_threads();
      return std::make_shared<CudaModel>(static_cast<int32_t>(i), threads);
    }
    throw Error("ERR_DEVICE", "no device " + name);
  }

  void submit(int32_t priority, std::function<void()> job) override { jobs_.submit(priority, std::move(job)); }

 private:
  static std::vector<DeviceInfo> find() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
      cudaGetLastError();
      return {{"cuda:0", absent(error), false, 0}};
    }
    std::vector<DeviceInfo> out;
    for (int i = 0; i < count; i++) {
      cudaDeviceProp p{};
      check(cudaGetDeviceProperties(&p, i));
      const std::string name = std::string(p.name) + ", compute capability " + std::to_string(p.major) + "." +
                               std::to_string(p.minor) + ", " + std::to_string(p.multiProcessorCount) +
                               " multiprocessors, " + std::to_string(p.totalGlobalMem >> 20) + " MiB";
      const bool usable = p.major >= 8;
      out.push_back({"cuda:" + std::to_string(i), usable ? name : name + ": 8.0 or newer is needed", usable, 1});
    }
    return out;
  }

  static std::string absent(cudaError_t error) {
    if (error == cudaErrorInsufficientDriver) return "no NVIDIA driver, or one older than this build's CUDA";
    if (error == cudaErrorNoDevice || error == cudaSuccess) return "the NVIDIA driver finds no GPU";
    return std::string("CUDA: ") + cudaGetErrorString(error);
  }

  JobQueue jobs_{"verdant-cuda"};
};

}  // namespace

Device& cuda_device() {
  static CudaDevice* device = new CudaDevice();
  return *device;
}

}  // namespace verdant::cuda
