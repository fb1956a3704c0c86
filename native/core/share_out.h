// Pieces of work over threads of one call, which take them in turn. Not for steps: those run on the team.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace verdant {

// Up to `threads` threads, the caller among them; each makes a worker by make() and calls it with numbers of pieces,
// 0 .. pieces - 1. The first error that a worker throws ends all and is thrown here.
template <class Make>
void share_out(int64_t threads, int64_t pieces, const Make& make) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      auto worker = make();
      for (int64_t i = next++; i < pieces; i = next++) worker(i);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = pieces;
    }
  };
  std::vector<std::thread> others;
  try {
    while (static_cast<int64_t>(others.size()) + 1 < std::min(threads, pieces)) others.emplace_back(work);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
  }
  work();
  for (std::thread& t : others) t.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace verdant
