// Jobs for one engine thread of a device: higher priority first, then in order of arrival. Never destroyed: its thread
// outlives every environment.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace verdant {

void name_thread(const std::string& name);  // as tools show it: at most 15 characters

class JobQueue {
 public:
  explicit JobQueue(std::string thread_name) : thread_name_(std::move(thread_name)) {}
  // From any thread; the first job starts the engine thread. A job catches its own errors.
  void submit(int32_t priority, std::function<void()> job);

 private:
  struct Job {
    int32_t priority;
    uint64_t order;
    std::function<void()> run;
  };

  static bool after(const Job& a, const Job& b);
  void engine();

  const std::string thread_name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;  // a heap
  uint64_t order_ = 0;
  bool started_ = false;
};

}  // namespace verdant
