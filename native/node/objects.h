// The two classes of the native surface: Model and Executable. Only open() and compile() make them.
#pragma once
#include <napi.h>

#include <atomic>
#include <memory>
#include <vector>

#include "core/device.h"
#include "node/env.h"

namespace verdant {

// What an Executable object holds, so that disposing its model can let go of it. JavaScript thread only.
struct Held {
  std::shared_ptr<Executable> executable;
};

// Shared by a model and all that was made from it.
struct Lifecycle {
  Device* device;
  int32_t priority;
  std::atomic<bool> disposed{false};
  std::vector<std::weak_ptr<Held>> executables;  // JavaScript thread only
};

// Flags of the calls that are queued or running, so that all can be cancelled. JavaScript thread only.
class Calls {
 public:
  std::shared_ptr<std::atomic<bool>> add();
  void cancel();

 private:
  std::vector<std::weak_ptr<std::atomic<bool>>> flags_;
};

class ExecutableObject : public Napi::ObjectWrap<ExecutableObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, std::shared_ptr<Executable> executable, std::shared_ptr<Lifecycle> life,
                           const Napi::Object& io);
  explicit ExecutableObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value run_sync(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  std::shared_ptr<Step> prepare(const Napi::CallbackInfo& info);

  std::shared_ptr<Held> held_ = std::make_shared<Held>();
  std::shared_ptr<Lifecycle> life_;
  Napi::ObjectReference io_;
  Calls calls_;
};

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, std::shared_ptr<Model> model, std::shared_ptr<Lifecycle> life);
  explicit ModelObject(const Napi::CallbackInfo& info);
  ~ModelObject() override;

 private:
  Napi::Value compile(const Napi::CallbackInfo& info);
  Napi::Value progress(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value ceilings(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void account(Napi::Env env, int64_t bytes);

  std::shared_ptr<Model> model_;
  std::shared_ptr<Lifecycle> life_;
  std::shared_ptr<CompileControl> control_;
  int64_t accounted_ = 0;
};

}  // namespace verdant
