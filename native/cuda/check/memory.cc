// What the device does with memory: gives it back, and says when it has too little.
#include <cstdio>
#include <string>

#include "core/error.h"
#include "cuda/check/run.h"
#include "cuda/device.h"
#include "cuda/memory.h"

namespace verdant::check {
namespace {

constexpr int32_t kTurns = 50;

size_t free_bytes(size_t* total = nullptr) {
  size_t free = 0, all = 0;
  on_device(cuda::cuda_device(), [&] {
    cuda::check(cudaDeviceSynchronize());
    cuda::check(cudaMemGetInfo(&free, &all));
  });
  if (total != nullptr) *total = all;
  return free;
}

Maker model(int64_t state_rows) {
  Maker m("memory", {2}, {0}, "f32");
  const int32_t state = m.state("tokens", kI32, state_rows, 32);
  m.node("scale",
         {m.node("linear", {m.normal_rows("x", 256), m.matrix("w", kBF16, 1024, 256), -1}, {{{m.rows(), 1024}}},
                 {{"compute", "f32"}}, false)[0]},
         {{{m.rows(), 1024}}}, {{"factor", 2.0}, {"offset", 0.0}});
  m.node("gather_rows", {state, m.ints("index", {0, 1})}, {{{2, 32}}});
  return m;
}

void load_and_drop(const Maker& m) {
  const auto executable = compile(cuda::cuda_device(), "cuda:0", m.program);
  for (int32_t step = 0; step < 3; step++) run(cuda::cuda_device(), *executable, m.inputs);
}

void fail(Tally& tally, const std::string& what) {
  tally.failures++;
  std::printf("FAILED  memory: %s\n", what.c_str());
}

void too_large(Tally& tally) {
  size_t total = 0;
  free_bytes(&total);
  try {
    load_and_drop(model(static_cast<int64_t>(total / 128) + (int64_t{8} << 20)));
    fail(tally, "a state larger than the GPU was accepted");
  } catch (const Error& error) {
    if (std::string(error.code()) != "ERR_OUT_OF_MEMORY") throw;
  }
}

}  // namespace

void check_memory(Tally& tally) {
  tally.cases += 2;
  try {
    const Maker m = model(100000);
    for (int32_t i = 0; i < 2; i++) load_and_drop(m);  // what is loaded once and stays
    const size_t before = free_bytes();
    for (int32_t i = 0; i < kTurns; i++) load_and_drop(m);
    const size_t after = free_bytes();
    if (after < before)
      fail(tally,
           std::to_string(before - after) + " bytes less are free after loading " + std::to_string(kTurns) + " times");
    too_large(tally);
    load_and_drop(m);  // the device works on
    if (free_bytes() < before) fail(tally, "memory is lost where there was too little of it");
  } catch (const Error& error) {
    if (std::string(error.code()) == "ERR_UNSUPPORTED")
      tally.missing[error.what()]++;
    else
      fail(tally, std::string(error.code()) + " " + error.what());
  }
}

}  // namespace verdant::check
