#include "core/team.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#if defined(__linux__)
#include <sched.h>
#endif

namespace verdant {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(30);

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

// CPUs that the cgroup's quota allows, rounded down, at least 1; 0 when there is no quota.
int32_t quota_cpus() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0)
    return std::max(1, static_cast<int32_t>(std::stod(quota) / period));
  std::ifstream q1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double q = 0, p = 0;
  if (q1 >> q && p1 >> p && q > 0 && p > 0) return std::max(1, static_cast<int32_t>(q / p));
  return 0;
}

// Distinct physical cores among the CPUs of the affinity mask.
int32_t affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::string> cores;
    int32_t logical = 0;
    for (int32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (!CPU_ISSET(cpu, &set)) continue;
      logical++;
      std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      std::string siblings;
      if (file >> siblings) cores.insert(siblings);
    }
    if (!cores.empty()) return static_cast<int32_t>(cores.size());
    if (logical > 0) return logical;
  }
#endif
  return std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
}

}  // namespace

void wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto start = Clock::now();
  do {
    for (int32_t i = 0; i < 32; i++) {
      if (value.load(std::memory_order_acquire) != old) return;
      relax();
    }
  } while (Clock::now() - start < kSpin);
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

Team& Team::instance() {
  static Team* team = new Team();  // never destroyed: its threads may outlive main
  return *team;
}

int32_t Team::default_threads() {
  const int32_t cores = affinity_cores(), quota = quota_cpus();
  return quota > 0 ? std::min(cores, quota) : cores;
}

void Team::run(int32_t threads, const std::function<void(int32_t)>& fn) {
  if (threads <= 1) return fn(0);
  while (workers_ < threads - 1) {
    std::thread([this, index = workers_ + 1, seen = generation_.load()] { worker(index, seen); }).detach();
    workers_++;
  }
  fn_ = &fn;
  active_ = threads;
  pending_.store(static_cast<uint32_t>(workers_), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  fn(0);
  for (uint32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) wait_while_equal(pending_, left);
}

void Team::worker(int32_t index, uint32_t seen) {
  name_thread("verdant-" + std::to_string(index));
  for (;;) {
    wait_while_equal(generation_, seen);
    seen++;
    if (index < active_) (*fn_)(index);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
  }
}

}  // namespace verdant
