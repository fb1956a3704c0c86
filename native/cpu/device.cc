#include "cpu/device.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "core/error.h"
#include "core/shapes.h"
#include "core/team.h"
#include "cpu/executable.h"
#include "cpu/pack.h"
#include "cpu/tiers.h"

namespace verdant {
namespace {

class CpuModel : public Model {
 public:
  CpuModel(const std::string& tier, int32_t threads) : kernels_(tier_kernels(tier)), threads_(threads) {}

  std::shared_ptr<Executable> compile(Program program, CompileControl& control) override {
    check_program(program);
    const std::vector<bool> panels = panel_weights(program);
    for (size_t v = 0; v < program.values.size(); v++)
      if (program.values[v].kind == ValueKind::weight) control.bytes_total += weight_bytes(*program.values[v].weight);
    std::vector<BoundValue> bound(program.values.size());
    for (size_t v = 0; v < program.values.size(); v++) {
      const Value& value = program.values[v];
      if (value.kind == ValueKind::weight) bound[v] = bind_weight(value, panels[v], control);
      if (value.kind == ValueKind::state) bound[v] = bind_state(value);
    }
    return std::make_shared<CpuExecutable>(std::move(program), kernels_, threads_, std::move(bound));
  }

  ModelInfo info() const override {
    std::lock_guard lock(mutex_);
    ModelInfo info;
    for (const auto& [key, weight] : weights_) info.weight_bytes += weight.second;
    for (const auto& [name, state] : states_) info.state_bytes += state->bytes();
    return info;
  }

 private:
  static int64_t weight_bytes(const WeightExpr& expr) { return expr.rows * row_bytes(expr.dtype, expr.cols); }

  BoundValue bind_weight(const Value& value, bool panels, CompileControl& control) {
    const WeightExpr& expr = *value.weight;
    BoundValue bound;
    if (panels) {
      if (value.shape.size() != 2) throw Error("ERR_GRAPH", "weight " + value.name + ": a matrix has rank 2");
      auto packed = pack_panels(value.weight, threads_, control);
      bound.tensor = {&packed->matrix, kF32, 2, {expr.rows, expr.cols}};
      remember(weight_key(expr), packed, packed->bytes);
      bound.keepalive = std::move(packed);
      return bound;
    }
    auto vector = std::make_shared<std::vector<float>>(decode_all(value.weight));
    bound.tensor = {vector->data(), kF32, static_cast<int32_t>(value.shape.size()), {}};
    for (size_t i = 0; i < value.shape.size(); i++) bound.tensor.dim[i] = value.shape[i].size;
    control.bytes_done += weight_bytes(expr);
    remember("vector " + weight_key(expr), vector, static_cast<int64_t>(vector->size() * sizeof(float)));
    bound.keepalive = std::move(vector);
    return bound;
  }

  void remember(const std::string& key, std::shared_ptr<void> held, int64_t bytes) {
    std::lock_guard lock(mutex_);
    weights_[key] = {std::move(held), bytes};
  }

  BoundValue bind_state(const Value& value) {
    const int64_t bytes = state_bytes(value);
    std::lock_guard lock(mutex_);
    std::shared_ptr<Pages>& pages = states_[value.name];
    if (pages == nullptr) pages = std::make_shared<Pages>(bytes);
    if (pages->bytes() != bytes)
      throw Error("ERR_GRAPH", "state " + value.name + ": " + std::to_string(pages->bytes()) +
                                   " bytes in an earlier program of this model, " + std::to_string(bytes) + " here");
    BoundValue bound;
    bound.tensor = {pages->data(), value.dtype, static_cast<int32_t>(value.shape.size()), {}};
    for (size_t i = 0; i < value.shape.size(); i++) bound.tensor.dim[i] = value.shape[i].size;
    bound.keepalive = pages;
    return bound;
  }

  const KernelTable kernels_;
  const int32_t threads_;
  mutable std::mutex mutex_;
  std::map<std::string, std::pair<std::shared_ptr<void>, int64_t>> weights_;
  std::map<std::string, std::shared_ptr<Pages>> states_;
};

class CpuDevice : public Device {
 public:
  std::vector<DeviceInfo> list() const override {
    const int32_t threads = Team::default_threads();
    const std::vector<Tier> tiers = cpu_tiers();
    const auto best = std::find_if(tiers.begin(), tiers.end(), [](const Tier& t) { return t.usable; });
    std::vector<DeviceInfo> out = {{"cpu", best->name + ": " + best->description, true, threads}};
    for (const Tier& t : tiers) out.push_back({"cpu:" + t.name, t.description, t.usable, threads});
    return out;
  }

  std::shared_ptr<Model> open(const std::string& name, const OpenOptions& options) override {
    for (const Tier& tier : cpu_tiers()) {
      if (name != "cpu" && name != "cpu:" + tier.name) continue;
      if (tier.usable)
        return std::make_shared<CpuModel>(tier.name, options.threads > 0 ? options.threads : Team::default_threads());
      if (name != "cpu") throw Error("ERR_DEVICE", "device " + name + " cannot be used here: " + tier.description);
    }
    throw Error("ERR_DEVICE", "no device " + name);
  }

  void submit(int32_t priority, std::function<void()> job) override {
    Team::instance().submit(priority, std::move(job));
  }
};

}  // namespace

Device& cpu_device() {
  static CpuDevice* device = new CpuDevice();
  return *device;
}

}  // namespace verdant
