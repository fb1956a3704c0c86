// The CUDA device without Node.
// verdant_cuda_check [--small] [--only TEXT]: every op on cuda:0 against cpu:generic, the same bits alone and in
// company, memory that comes back. Exit status 1: it failed; 2: there is no device. verdant_cuda_check time [SHAPES]:
// medians over CUDA events of whole executables, beside ceilings of the same run.
#include <cstdio>
#include <cstring>
#include <string>

#include "cuda/agree.h"
#include "cuda/check/run.h"
#include "cuda/check/time.h"
#include "cuda/device.h"
#include "cuda/hopper.h"
#include "cuda/memory.h"

namespace verdant::check {
namespace {

// Sizes that a sanitizer gets through.
bool is_small(const Case& c) {
  int64_t rows = 0;
  for (const int64_t n : c.lengths) rows += n;
  return rows <= 20 || case_name(c).find("bf16, 65 rows") != std::string::npos;  // of kernels for many rows
}

int check_all(bool small, const std::string& only) {
  Tally tally;
  on_device(cuda::cuda_device(), [] {
    cuda::check(cudaSetDevice(0));
    const bool used = cuda::hopper_kernels();
    std::printf("Hopper's kernels are %s\n", used ? "used" : "not used");
    const bool here = used || cuda::cuda_device().list()[0].description.find(" 9.0,") != std::string::npos;
    if (!here) return;
    std::printf("the bits of the portable ones: linear %s, attention %s\n", cuda::linear_agrees() ? "yes" : "no",
                cuda::attention_agrees() ? "yes" : "no");
  });
  for (const Case& c : all_cases())
    if (case_name(c).find(only) != std::string::npos && (!small || is_small(c))) check_case(c, tally);
  if ((only.empty() || only == "memory") && !small) check_memory(tally);
  for (const auto& [what, count] : tally.missing)
    std::printf("missing %s: %lld cases\n", what.c_str(), static_cast<long long>(count));
  std::printf("%lld cases, %lld failures, %zu missing\n", static_cast<long long>(tally.cases),
              static_cast<long long>(tally.failures), tally.missing.size());
  return tally.failures == 0 && tally.cases > 0 ? 0 : 1;
}

int run_main(int argc, char** argv) {
  bool small = false;
  const bool time = argc > 1 && std::strcmp(argv[1], "time") == 0;
  std::string only, shapes = time && argc > 2 ? argv[2] : "";
  for (int i = 1; i < argc && !time; i++) {
    if (std::strcmp(argv[i], "--small") == 0) {
      small = true;
    } else if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: verdant_cuda_check [--small] [--only TEXT]\n       verdant_cuda_check time [SHAPES]\n");
      return 2;
    }
  }
  const DeviceInfo device = cuda::cuda_device().list()[0];
  std::printf("%s: %s\n", device.name.c_str(), device.description.c_str());
  if (!device.usable) return 2;
  if (time) return time_all(shapes) ? 0 : 1;
  return check_all(small, only);
}

}  // namespace
}  // namespace verdant::check

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const int status = verdant::check::run_main(argc, argv);
  std::fflush(stdout);
  std::_Exit(status);  // the threads of the devices are never joined
}
