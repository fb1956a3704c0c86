// Prepared weights of the process by key, as long as anyone holds them: one thread prepares, others who want the same
// wait for it.
#pragma once
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "core/device.h"
#include "core/error.h"

namespace verdant {

template <class Weight>
class WeightCache {
 public:
  // `found` is called with a weight that was there, `make` where there was none. Throws ERR_ABORTED when cancelled, and
  // what `make` throws.
  template <class Make, class Found>
  std::shared_ptr<Weight> get(const std::string& key, const CompileControl& control, const Make& make,
                              const Found& found) {
    if (std::shared_ptr<Weight> held = claim(key, control)) {
      found();
      return held;
    }
    Claim claim{*this, key, nullptr};
    claim.result = make();
    return claim.result;
  }

 private:
  // Ends the claim on a key, whether `make` worked or threw.
  struct Claim {
    WeightCache& cache;
    const std::string& key;
    std::shared_ptr<Weight> result;
    ~Claim() {
      std::lock_guard lock(cache.mutex_);
      cache.making_.erase(key);
      if (result) cache.ready_[key] = result;
      cache.changed_.notify_all();
    }
  };

  // The weight, or null: then the caller is the one who makes it.
  std::shared_ptr<Weight> claim(const std::string& key, const CompileControl& control) {
    std::unique_lock lock(mutex_);
    std::erase_if(ready_, [](const auto& entry) { return entry.second.expired(); });
    for (;;) {
      if (control.cancelled.load()) throw Error("ERR_ABORTED", "packing the weights was cancelled");
      const auto ready = ready_.find(key);
      if (ready != ready_.end())
        if (auto held = ready->second.lock()) return held;
      if (making_.insert(key).second) return nullptr;
      changed_.wait_for(lock, std::chrono::milliseconds(20));
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::weak_ptr<Weight>> ready_;
  std::set<std::string> making_;
};

}  // namespace verdant
