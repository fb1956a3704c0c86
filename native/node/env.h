// What one JavaScript environment (main thread or worker) needs: a way back to its thread, and typed errors.
#pragma once
#include <napi.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "core/error.h"

namespace verdant {

// Jobs hold it by shared_ptr; after the environment's end, what they post is dropped.
class EnvState : public std::enable_shared_from_this<EnvState> {
 public:
  static std::shared_ptr<EnvState> of(Napi::Env env);
  static void create(Napi::Env env);

  // A promise that a job settles later; keeps the process alive until then. JavaScript thread only.
  struct Pending {
    uint64_t id;
    Napi::Value promise;
  };
  Pending begin(Napi::Env env);

  // From any thread: settles promise `id` on the JavaScript thread with what `make` returns or throws.
  void settle(uint64_t id, std::function<Napi::Value(Napi::Env)> make);

  Napi::FunctionReference model_constructor, executable_constructor;

 private:
  static void drain(napi_env env, napi_value, void* context, void*);
  void close();
  void finish(Napi::Env env, uint64_t id, const std::function<Napi::Value(Napi::Env)>& make);

  struct Done {
    uint64_t id;
    std::function<Napi::Value(Napi::Env)> make;
  };
  std::mutex mutex_;
  bool alive_ = true;
  napi_threadsafe_function tsfn_ = nullptr;
  std::deque<Done> done_;
  std::map<uint64_t, Napi::Promise::Deferred> deferred_;  // JavaScript thread only
  uint64_t next_id_ = 1;
};

// The JavaScript error of the exception in flight: Error{code, message}. Only inside a catch block.
Napi::Error current_error(Napi::Env env);

// Runs `body`; every C++ exception leaves as a JavaScript one. Each entry from JavaScript goes through here.
template <class F>
auto guarded(Napi::Env env, F body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw current_error(env);
  }
}

}  // namespace verdant
