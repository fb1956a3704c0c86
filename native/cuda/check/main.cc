// The CUDA device without Node.
// verdant_cuda_check [--small] [--names] [--only TEXT]: every op on cuda:0 against cpu:generic, the same bits alone and
// in company, memory that comes back; --names: names each case before it runs, so that one that hangs is known. Exit
// status 1: it failed; 2: there is no device. verdant_cuda_check time [SHAPES]: medians over CUDA events of whole
// executables, beside ceilings of the same run.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/weight_types.h"
#include "cuda/agree.h"
#include "cuda/check/run.h"
#include "cuda/check/time.h"
#include "cuda/device.h"
#include "cuda/hopper.h"
#include "cuda/linear.h"
#include "cuda/memory.h"
#include "cuda/op.h"

namespace verdant::check {
namespace {

// Sizes that a sanitizer gets through.
bool is_small(const Case& c) {
  int64_t rows = 0;
  for (const int64_t n : c.lengths) rows += n;
  return rows <= 20 || case_name(c).find("bf16, 65 rows") != std::string::npos;  // several blocks of rows
}

struct CheckOptions {
  bool small = false, names = false;
  std::string only;
  long long from = 0, cases = 0, failures = 0;  // of the process before: where it went on to, what it had found
};

void print_tally(const Tally& tally) {
  for (const auto& [what, count] : tally.missing)
    std::printf("missing %s: %lld cases\n", what.c_str(), static_cast<long long>(count));
  std::printf("%lld cases, %lld failures, %zu missing\n", static_cast<long long>(tally.cases),
              static_cast<long long>(tally.failures), tally.missing.size());
}

// Whether the device takes work: after a fault in a kernel no call of this process succeeds any more.
bool device_works() {
  bool good = false;
  on_device(cuda::cuda_device(), [&] { good = cudaDeviceSynchronize() == cudaSuccess; });
  return good;
}

// A new process takes this one's place and goes on with case `from`.
int restart(const CheckOptions& o, size_t from, const Tally& tally) {
  print_tally(tally);
  std::printf("the device is lost: a new process goes on\n");
  std::fflush(stdout);
  const std::string told =
      std::to_string(from) + "," + std::to_string(tally.cases) + "," + std::to_string(tally.failures);
  std::vector<const char*> args = {"verdant_cuda_check", "--from", told.c_str(), "--only", o.only.c_str()};
  if (o.small) args.push_back("--small");
  if (o.names) args.push_back("--names");
  args.push_back(nullptr);
  execv("/proc/self/exe", const_cast<char**>(args.data()));
  return 1;
}

// False: they fail.
bool compare_hopper() {
  try {
    on_device(cuda::cuda_device(), [] {
      cuda::check(cudaSetDevice(0));
      const cuda::HopperKernels used = cuda::hopper_kernels();
      const bool here = used.linear || cuda::cuda_device().list()[0].description.find(" 9.0,") != std::string::npos;
      const auto tell = [&](const char* what, bool taken, bool (*agree)()) {
        const bool same = here && !portable_only() && agree();
        std::printf("Hopper's kernels of %s: %s, %s\n", what, taken ? "used" : "not used",
                    same                       ? "the bits of the portable ones"
                    : here && !portable_only() ? "other bits than the portable ones"
                                               : "not compared");
        if (taken && !same) throw Error("ERR_DEVICE", std::string(what) + " is used with other bits");
      };
      tell("linear", used.linear, cuda::linear_agrees);
      tell("linear of block weights", used.codes, cuda::codes_agree);
      tell("attention", used.attention, cuda::attention_agrees);
      std::printf("dependent launches are %s\n", cuda::dependent_launch() ? "used" : "not used");
    });
    return true;
  } catch (const Error& error) {
    std::printf("FAILED  Hopper's kernels: %s %s\n", error.code(), error.what());
    return false;
  }
}

// The kernels of few and of many rows, which a GPU's size chooses from. `small`: one type of each kind.
void compare_rows(Tally& tally, bool small) {
  for (int32_t t = 0; t < kDTypeCount; t++) {
    const auto type = static_cast<DType>(t);
    if (type == kI32 || type == kU8) continue;
    if (small && type != kF32 && type != kBF16 && type != kQ4_1 && type != kQ4_K && type != kQ6_K) continue;
    for (const Compute compute : {kComputeF32, kComputeBF16}) {
      if (cuda::linear_compute(compute, type) != compute) continue;
      bool same = false;
      on_device(cuda::cuda_device(), [&] {
        cuda::check(cudaSetDevice(0));
        same = cuda::linear_rows_agree(type, compute);
      });
      tally.cases++;
      if (same) continue;
      tally.failures++;
      std::printf("FAILED  linear, %s in %s: bits of few and of many rows differ\n", dtype_name(type),
                  kComputeNames[compute]);
    }
  }
}

int check_all(const CheckOptions& o) {
  Tally tally;
  tally.cases = o.cases;
  tally.failures = o.failures;
  if (!compare_hopper()) {
    tally.failures++;
    if (portable_only()) return 1;
    setenv("VERDANT_CUDA_KERNELS", "portable", 1);
    return restart(o, 0, tally);
  }
  if (o.from == 0 && (o.only.empty() || o.only == "linear")) compare_rows(tally, o.small);
  const std::vector<Case> cases = all_cases();
  for (size_t i = static_cast<size_t>(o.from); i < cases.size(); i++) {
    const std::string name = case_name(cases[i]);
    if (name.find(o.only) == std::string::npos || (o.small && !is_small(cases[i]))) continue;
    if (o.names) std::printf("case     %s\n", name.c_str());
    check_case(cases[i], tally);
    if (!device_works()) return restart(o, i + 1, tally);
  }
  if ((o.only.empty() || o.only == "memory") && !o.small) check_memory(tally);
  print_tally(tally);
  return tally.failures == 0 && tally.cases > 0 ? 0 : 1;
}

int run_main(int argc, char** argv) {
  CheckOptions options;
  const bool time = argc > 1 && std::strcmp(argv[1], "time") == 0;
  const std::string shapes = time && argc > 2 ? argv[2] : "";
  for (int i = 1; i < argc && !time; i++) {
    if (std::strcmp(argv[i], "--small") == 0) {
      options.small = true;
    } else if (std::strcmp(argv[i], "--names") == 0) {
      options.names = true;
    } else if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      options.only = argv[++i];
    } else if (std::strcmp(argv[i], "--from") == 0 && i + 1 < argc &&  // see restart
               std::sscanf(argv[i + 1], "%lld,%lld,%lld", &options.from, &options.cases, &options.failures) == 3) {
      i++;
    } else {
      std::fprintf(
          stderr,
          "usage: verdant_cuda_check [--small] [--names] [--only TEXT]\n       verdant_cuda_check time [SHAPES]\n");
      return 2;
    }
  }
  const DeviceInfo device = cuda::cuda_device().list()[0];
  std::printf("%s: %s\n", device.name.c_str(), device.description.c_str());
  if (!device.usable) return 2;
  if (time) return time_all(shapes) ? 0 : 1;
  return check_all(options);
}

}  // namespace
}  // namespace verdant::check

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const int status = verdant::check::run_main(argc, argv);
  std::fflush(stdout);
  std::_Exit(status);  // the threads of the devices are never joined
}
