// The process-wide compute threads: one engine thread that runs queued jobs, and workers that help with one job at a
// time. Never on the event loop, never on libuv's threads. Nothing here is destroyed: threads outlive every
// environment.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "core/job_queue.h"

namespace verdant {

// Spins at most ~30 us, then parks: with more threads than free cores a pure spin would collapse.
void wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old);

// All threads of a team meet, and the last to come does what is to be done before the others go on; sense-reversing,
// counter and phase on separate cache lines.
class Barrier {
 public:
  void reset(int32_t threads) { threads_ = threads; }
  template <class Last>
  void wait(const Last& last) {
    const uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 != threads_) return wait_while_equal(phase_, phase);
    last();
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
  }

 private:
  int32_t threads_ = 1;
  alignas(64) std::atomic<int32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
};

class Team {
 public:
  static Team& instance();

  // Physical cores that affinity and cgroup quota allow.
  static int32_t default_threads();

  // Queues a job for the engine thread: higher priority first, then in order of arrival.
  void submit(int32_t priority, std::function<void()> job) { jobs_.submit(priority, std::move(job)); }

  // Only from a job: calls fn(thread) for thread 0 .. threads - 1, thread 0 being the caller; returns when all are
  // done.
  void run(int32_t threads, const std::function<void(int32_t)>& fn);

 private:
  Team() = default;
  void worker(int32_t index, uint32_t seen);  // `seen`: the last generation before it was made

  JobQueue jobs_{"verdant"};

  int32_t workers_ = 0;  // engine thread only
  int32_t active_ = 0;
  const std::function<void(int32_t)>* fn_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> pending_{0};
};

}  // namespace verdant
