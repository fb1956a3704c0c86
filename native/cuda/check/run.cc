#include "cuda/check/run.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>

#include "core/error.h"
#include "cpu/device.h"
#include "cuda/device.h"
#include "cuda/memory.h"

namespace verdant::check {
namespace {

constexpr const char* kCpu = "cpu:generic";
constexpr const char* kCuda = "cuda:0";
constexpr double kRoundedAttention = 1e-5;

std::string words(const char* format, double a, double b = 0, double c = 0) {
  char text[160];
  std::snprintf(text, sizeof text, format, a, b, c);
  return text;
}

// sum (a - b)^2 / sum b^2; infinite where one is NaN or infinite and the other is not the same.
double nmse(const float* a, const float* b, int64_t count) {
  double error = 0, size = 0;
  for (int64_t i = 0; i < count; i++) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (std::isfinite(x) && std::isfinite(y)) {
      error += (x - y) * (x - y);
      size += y * y;
    } else if (!(std::isnan(x) && std::isnan(y)) && x != y) {
      return INFINITY;
    }
  }
  return error == 0 ? 0 : error / size;
}

// What is wrong with an output, empty: nothing.
std::string difference(DType dtype, const std::vector<uint8_t>& found, const std::vector<uint8_t>& expected,
                       double gate) {
  if (found.size() != expected.size())
    return words("%.0f bytes, expected %.0f", static_cast<double>(found.size()), static_cast<double>(expected.size()));
  const int64_t count = static_cast<int64_t>(found.size() / 4);
  if (dtype == kI32) {
    const int32_t* a = reinterpret_cast<const int32_t*>(found.data());
    const int32_t* b = reinterpret_cast<const int32_t*>(expected.data());
    for (int64_t i = 0; i < count; i++)
      if (a[i] != b[i]) return words("[%.0f] is %.0f, expected %.0f", static_cast<double>(i), a[i], b[i]);
    return "";
  }
  const double error =
      nmse(reinterpret_cast<const float*>(found.data()), reinterpret_cast<const float*>(expected.data()), count);
  return error <= gate ? "" : words("NMSE %.2e, at most %.0e", error, gate);
}

std::string without_node_name(std::string message) {
  const size_t open = message.find(" ("), close = message.find(')');
  return open < close && close != std::string::npos ? message.erase(open, close + 1 - open) : message;
}

std::vector<int32_t> all_units(const Case& c) {
  std::vector<int32_t> out(c.lengths.size());
  for (size_t u = 0; u < out.size(); u++) out[u] = static_cast<int32_t>(u);
  return out;
}

class CaseCheck {
 public:
  CaseCheck(const Case& c, Tally& tally) : case_(c), tally_(tally), whole_(made(all_units(c))) {}

  void run() {
    tally_.cases++;
    const std::shared_ptr<Executable> executable = check::compile(cuda::cuda_device(), kCuda, whole_.program);
    found_ = check::run(cuda::cuda_device(), *executable, whole_.inputs);
    gate_ = gate_of(executable->info());
    // The second step is captured as a graph, the third replays it.
    for (const char* turn : {"as a graph", "as the graph again"})
      same_bits(check::run(cuda::cuda_device(), *executable, whole_.inputs), turn);
    executable->set_profiling(true);  // which times nodes one by one
    same_bits(check::run(cuda::cuda_device(), *executable, whole_.inputs), "node by node");
    against_cpu();
    portable();
    const int32_t units = static_cast<int32_t>(case_.lengths.size());
    if (units == 1) return;
    for (const int32_t u : {0, units / 2, units - 1}) alone({u});
    alone(units > 3 ? std::vector<int32_t>{units - 2, 1, units / 2 + 1} : std::vector<int32_t>{units - 1, 0});
  }

  void fail(const std::string& what) {
    tally_.failures++;
    std::printf("FAILED  %s: %s\n", case_name(case_).c_str(), what.c_str());
  }

 private:
  Maker made(const std::vector<int32_t>& units, bool cpu = false) const {
    Maker maker(case_name(case_), case_.lengths, units, cpu || case_.compute.empty() ? "f32" : case_.compute);
    case_.make(maker);
    return maker;
  }

  // Of attention that rounds queries and weights to bf16: what that brings.
  double gate_of(const ExecutableInfo& info) const {
    for (const auto& node : info.nodes)
      if (node.op == "attention" && node.compute == "bf16") return std::max(case_.gate, kRoundedAttention);
    return case_.gate;
  }

  void same_bits(const Outputs& again, const std::string& turn) {
    for (size_t o = 0; o < found_.size(); o++)
      if (again[o] != found_[o]) fail("output " + whole_.program.outputs[o].name + " has other bits " + turn);
  }

  // Where the GPU has kernels of its own, the portable ones give the same bits.
  void portable() {
    if (portable_only() || (case_.op != "linear" && case_.op != "attention")) return;
    setenv("VERDANT_CUDA_KERNELS", "portable", 1);
    const auto executable = check::compile(cuda::cuda_device(), kCuda, whole_.program);
    unsetenv("VERDANT_CUDA_KERNELS");
    same_bits(check::run(cuda::cuda_device(), *executable, whole_.inputs), "from portable kernels");
  }

  void against_cpu() {
    const Maker maker = made(all_units(case_), true);
    const Outputs expected = check::run(cpu_device(), *check::compile(cpu_device(), kCpu, maker.program), maker.inputs);
    for (size_t o = 0; o < found_.size(); o++) {
      const Output& output = whole_.program.outputs[o];
      const std::string what = difference(whole_.program.values[output.value].dtype, found_[o], expected[o], gate_);
      if (!what.empty()) fail("output " + output.name + ": " + what);
    }
  }

  // The same units with others, or none: the same bits.
  void alone(const std::vector<int32_t>& units) {
    const Maker maker = made(units);
    const Outputs part =
        check::run(cuda::cuda_device(), *check::compile(cuda::cuda_device(), kCuda, maker.program), maker.inputs);
    for (size_t o = 0; o < part.size(); o++) {
      const std::vector<int64_t>&own = maker.output_bounds[o], &all = whole_.output_bounds[o];
      if (own.empty() || all.empty() || own.back() == 0) continue;
      const size_t row = part[o].size() / static_cast<size_t>(own.back());
      for (size_t i = 0; i < units.size(); i++) {
        const size_t u = static_cast<size_t>(units[i]), bytes = static_cast<size_t>(own[i + 1] - own[i]) * row;
        if (bytes != static_cast<size_t>(all[u + 1] - all[u]) * row ||
            std::memcmp(part[o].data() + static_cast<size_t>(own[i]) * row,
                        found_[o].data() + static_cast<size_t>(all[u]) * row, bytes) != 0)
          fail("output " + maker.program.outputs[o].name + ": unit " + std::to_string(u) + " of " +
               std::to_string(all.size() - 1) + " has other bits among " + std::to_string(units.size()));
      }
    }
  }

  const Case& case_;
  Tally& tally_;
  const Maker whole_;
  Outputs found_;
  double gate_ = 0;
};

}  // namespace

void on_device(Device& device, const std::function<void()>& job) {
  std::promise<void> done;
  device.submit(0, [&] {
    try {
      job();
      done.set_value();
    } catch (...) {
      done.set_exception(std::current_exception());
    }
  });
  done.get_future().get();
}

std::shared_ptr<Executable> compile(Device& device, const std::string& name, const Program& program) {
  validate(program);
  CompileControl control;
  return device.open(name, {})->compile(program, control);
}

Outputs run(Device& device, Executable& executable, const std::vector<std::vector<uint8_t>>& inputs) {
  Step step;
  step.inputs = inputs;
  const std::atomic<bool> cancelled{false};
  on_device(device, [&] { executable.run(step, cancelled); });
  Outputs out;
  for (const Step::OutputBuffer& b : step.outputs) out.emplace_back(b.data.get(), b.data.get() + b.bytes);
  return out;
}

bool portable_only() { return std::getenv("VERDANT_CUDA_KERNELS") != nullptr; }

void check_case(const Case& c, Tally& tally) {
  CaseCheck check(c, tally);
  try {
    check.run();
  } catch (const Error& error) {
    if (std::string(error.code()) == "ERR_UNSUPPORTED") {
      tally.missing[without_node_name(error.what())]++;
      return;
    }
    check.fail(std::string(error.code()) + " " + error.what());
  }
}

}  // namespace verdant::check
