#include "core/job_queue.h"

#include <algorithm>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <pthread.h>
#endif

namespace verdant {

void name_thread(const std::string& name) {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), name.c_str());
#else
  (void)name;
#endif
}

bool JobQueue::after(const Job& a, const Job& b) {
  return a.priority != b.priority ? a.priority < b.priority : a.order > b.order;
}

void JobQueue::submit(int32_t priority, std::function<void()> job) {
  std::lock_guard lock(mutex_);
  if (!started_) {
    std::thread([this] { engine(); }).detach();
    started_ = true;
  }
  jobs_.push_back({priority, order_++, std::move(job)});
  std::push_heap(jobs_.begin(), jobs_.end(), after);
  wake_.notify_one();
}

void JobQueue::engine() {
  name_thread(thread_name_);
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !jobs_.empty(); });
    std::pop_heap(jobs_.begin(), jobs_.end(), after);
    std::function<void()> run = std::move(jobs_.back().run);
    jobs_.pop_back();
    lock.unlock();
    run();
  }
}

}  // namespace verdant
