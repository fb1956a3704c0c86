#include "ceilings/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "core/amx.h"

#if defined(__linux__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

namespace verdant_ceilings {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kBlocks = 16384;   // of one call of a compute loop: some 30 to 100 us
constexpr int64_t kStrip = 4 << 20;  // bytes of one call of the stream
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kLeastBuffer = 1ll << 30;  // far more than any cache that a few threads share
constexpr int64_t kLeastPerThread = 64ll << 20;
constexpr double kWarmMs = 4;  // clocks settle, and the scheduler parts the threads

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Memory that is read; made by the first measurement and kept.
struct Buffer {
  uint8_t* data = nullptr;
  int64_t bytes = 0;

  // True when it is new and must be filled.
  bool reserve(int64_t wanted) {
    if (wanted <= bytes) return false;
    const size_t size = static_cast<size_t>(wanted + kHugePage);
    release();
#if defined(__linux__) || defined(__APPLE__)
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    madvise(p, size, MADV_HUGEPAGE);
#endif
#else
    void* p = std::malloc(size);
    if (p == nullptr) throw std::bad_alloc();
#endif
    base_ = p;
    size_ = size;
    const uintptr_t mask = static_cast<uintptr_t>(kHugePage) - 1;
    data = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(p) + mask) & ~mask);
    bytes = wanted;
    return true;
  }

 private:
  void release() {
    if (base_ == nullptr) return;
#if defined(__linux__) || defined(__APPLE__)
    munmap(base_, size_);
#else
    std::free(base_);
#endif
    base_ = nullptr;
    bytes = 0;
  }

  void* base_ = nullptr;
  size_t size_ = 0;
};

bool has_avx2() {
#if defined(VERDANT_HAVE_X64)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool has_avx512() {
#if defined(VERDANT_HAVE_X64)
  return has_avx2() && __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

Loops loops_of(const std::string& tier) {
  Loops loops;
  add_generic(loops);
#if defined(VERDANT_HAVE_X64)
  if (tier != "generic") add_avx2(loops);
  if (tier == "avx512") {
    add_avx512(loops);
    if (__builtin_cpu_supports("avx512vnni")) add_avx512_vnni(loops);
    if (__builtin_cpu_supports("avx512bf16")) add_avx512_bf16(loops);
    if (verdant::amx_allowed()) add_avx512_amx(loops);
  }
#endif
  return loops;
}

// One kind of loop, and where its rates go.
struct Part {
  const Compute* compute = nullptr;  // null: the stream
  std::vector<double>* rates = nullptr;
};

class Measurement {
 public:
  Measurement(const Options& options, Buffer& buffer) : options_(options), buffer_(buffer) {
    result_.tier = options.tier.empty() ? best_tier() : options.tier;
    if (!(result_.tier == "generic" || (result_.tier == "avx2" && has_avx2()) ||
          (result_.tier == "avx512" && has_avx512())))
      throw std::invalid_argument("this machine has no tier " + result_.tier);
    loops_ = loops_of(result_.tier);
    fill_ = buffer_.reserve(std::max(kLeastBuffer, kLeastPerThread * options.threads));
    result_.stream_bytes = buffer_.bytes;
    parts_ = {{nullptr, &result_.stream}, {&loops_.f32, &result_.f32}};
    if (loops_.bf16.run != nullptr) parts_.push_back({&loops_.bf16, &result_.bf16});
    if (loops_.int8.run != nullptr) parts_.push_back({&loops_.int8, &result_.int8});
    rates_.assign(parts_.size() * static_cast<size_t>(options.rounds * options.threads), 0);
  }

  Result run() {
    std::vector<std::thread> threads;
    try {
      for (int32_t t = 0; t < options_.threads; t++) threads.emplace_back([this, t] { body(t); });
    } catch (...) {
      stop_ = true;
      for (std::thread& thread : threads) thread.join();
      throw;
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t p = 0; p < parts_.size(); p++)
      for (int32_t r = 0; r < options_.rounds; r++) {
        double sum = 0;
        for (int32_t t = 0; t < options_.threads; t++) sum += rate(p, r, t);
        parts_[p].rates->push_back(sum);
      }
    return result_;
  }

 private:
  double& rate(size_t part, int32_t round, int32_t thread) {
    return rates_[(part * static_cast<size_t>(options_.rounds) + static_cast<size_t>(round)) *
                      static_cast<size_t>(options_.threads) +
                  static_cast<size_t>(thread)];
  }

  // All threads go on together; false: the measurement was given up.
  bool meet() {
    const int32_t phase = phase_.load();
    if (arrived_.fetch_add(1) + 1 == options_.threads) {
      arrived_ = 0;
      phase_ = phase + 1;
      return true;
    }
    while (phase_.load() == phase) {
      if (stop_) return false;
      std::this_thread::yield();
    }
    return true;
  }

  void body(int32_t thread) {
    const int64_t share = buffer_.bytes / options_.threads / kStrip * kStrip;
    uint8_t* begin = buffer_.data + share * thread;
    if (fill_) {
      uint64_t x = static_cast<uint64_t>(thread) + 1;
      for (int64_t i = 0; i < share; i += 8, x = x * 0x9e3779b97f4a7c15u + 1) std::memcpy(begin + i, &x, 8);
    }
    int64_t at = 0;  // where the stream goes on: every round reads what lies in no cache
    for (size_t p = 0; p < parts_.size(); p++) {
      work(parts_[p], begin, share, at, kWarmMs);
      for (int32_t r = 0; r < options_.rounds; r++) {
        if (!meet()) return;
        rate(p, r, thread) = work(parts_[p], begin, share, at, options_.milliseconds);
      }
    }
  }

  // Rate of this thread over about `milliseconds`.
  double work(const Part& part, const uint8_t* begin, int64_t share, int64_t& at, double milliseconds) {
    alignas(64) uint32_t sink[16];
    int64_t done = 0;
    const Clock::time_point start = Clock::now();
    double passed = 0;
    do {
      // 2^-20 as f32, and as two bf16; small bytes as int8.
      for (uint32_t& word : sink) word = part.compute == &loops_.bf16 ? 0x35803580u : 0x35800000u;
      if (part.compute != nullptr) {
        part.compute->run(kBlocks, sink);
        done += kBlocks;
      } else {
        loops_.stream(begin + at, kStrip, sink);
        done += kStrip;
        at = at + kStrip < share ? at + kStrip : 0;
      }
      for (uint32_t word : sink) escape_.store(word, std::memory_order_relaxed);
      passed = ms_since(start);
    } while (passed < milliseconds);
    const double units = static_cast<double>(done) * (part.compute == nullptr ? 1 : part.compute->operations);
    return units / passed / 1e6;
  }

  const Options options_;
  Buffer& buffer_;
  Loops loops_;
  bool fill_ = false;
  Result result_;
  std::vector<Part> parts_;
  std::vector<double> rates_;  // (part, round, thread), 10^9 per second
  std::atomic<int32_t> arrived_{0}, phase_{0};
  std::atomic<bool> stop_{false};
  std::atomic<uint32_t> escape_{0};
};

}  // namespace

std::string best_tier() { return has_avx512() ? "avx512" : has_avx2() ? "avx2" : "generic"; }

Result measure(const Options& options) {
  // Never destroyed: a measurement may still run when the process ends.
  static std::mutex* one = new std::mutex();
  static Buffer* buffer = new Buffer();
  std::lock_guard lock(*one);
  return Measurement(options, *buffer).run();
}

}  // namespace verdant_ceilings
