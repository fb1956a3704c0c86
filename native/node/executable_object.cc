#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>

#include "node/convert.h"
#include "node/objects.h"

namespace verdant {

std::shared_ptr<std::atomic<bool>> Calls::add() {
  std::erase_if(flags_, [](const auto& flag) { return flag.expired(); });
  auto flag = std::make_shared<std::atomic<bool>>(false);
  flags_.push_back(flag);
  return flag;
}

void Calls::cancel() {
  for (const auto& weak : flags_)
    if (const auto flag = weak.lock()) flag->store(true);
  flags_.clear();
}

namespace {

void run_step(Executable& executable, const Lifecycle& life, Step& step, const std::atomic<bool>& cancelled) {
  if (life.disposed.load()) throw Error("ERR_DISPOSED", "the model was disposed");
  if (cancelled.load()) throw Error("ERR_ABORTED", "the step was cancelled");
  executable.run(step, cancelled);
}

}  // namespace

Napi::Function ExecutableObject::define(Napi::Env env) {
  return DefineClass(
      env, "Executable",
      {InstanceMethod<&ExecutableObject::run>("run"), InstanceMethod<&ExecutableObject::run_sync>("runSync"),
       InstanceMethod<&ExecutableObject::profile>("profile"), InstanceMethod<&ExecutableObject::cancel>("cancel"),
       InstanceMethod<&ExecutableObject::dispose>("dispose")});
}

Napi::Object ExecutableObject::make(Napi::Env env, std::shared_ptr<Executable> executable,
                                    std::shared_ptr<Lifecycle> life, const Napi::Object& io) {
  const Napi::Object object = EnvState::of(env)->executable_constructor.New(
      {Napi::External<void>::New(env, &EnvState::of(env)->executable_constructor)});
  ExecutableObject* self = Unwrap(object);
  self->held_->executable = std::move(executable);
  std::erase_if(life->executables, [](const auto& held) { return held.expired(); });
  life->executables.push_back(self->held_);
  self->life_ = std::move(life);
  self->io_ = Napi::Persistent(io);
  return object;
}

ExecutableObject::ExecutableObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "Executable is made by Model.compile()");
}

std::shared_ptr<Step> ExecutableObject::prepare(const Napi::CallbackInfo& info) {
  if (life_->disposed.load()) throw Error("ERR_DISPOSED", "the model was disposed");
  if (held_->executable == nullptr) throw Error("ERR_DISPOSED", "the executable was disposed");
  auto step = std::make_shared<Step>();
  step->dims = to_dims(info[0], held_->executable->program());
  if (info.Length() > 1 && !info[1].IsUndefined()) {
    const double k = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : 0;
    if (!(k >= 1 && k <= 4096) || k != std::floor(k)) throw Error("ERR_INPUT", "k must be an integer from 1 to 4096");
    step->k = static_cast<int32_t>(k);
  }
  copy_inputs(io_.Value(), held_->executable->program(), *step);
  return step;
}

// run(dims, k = 1): copies the inputs and queues the step; the promise settles with outputs, status and steps.
Napi::Value ExecutableObject::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto step = prepare(info);
    auto cancelled = calls_.add();
    const auto state = EnvState::of(env);
    const EnvState::Pending pending = state->begin(env);
    life_->device->submit(life_->priority,
                          [=, executable = held_->executable, life = life_, id = pending.id]() mutable {
                            std::exception_ptr error;
                            try {
                              run_step(*executable, *life, *step, *cancelled);
                            } catch (...) {
                              error = std::current_exception();
                            }
                            state->settle(id, [executable, step, error, cancelled](Napi::Env env) -> Napi::Value {
                              if (error) std::rethrow_exception(error);
                              return to_result(env, executable->program(), *step);
                            });
                          });
    return pending.promise;
  });
}

// runSync(dims, k = 1): as run, but blocks the calling thread until the step is done.
Napi::Value ExecutableObject::run_sync(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto step = prepare(info);
    std::mutex mutex;
    std::condition_variable ready;
    bool done = false;
    std::exception_ptr error;
    const std::atomic<bool> cancelled{false};
    life_->device->submit(life_->priority, [&] {
      try {
        run_step(*held_->executable, *life_, *step, cancelled);
      } catch (...) {
        error = std::current_exception();
      }
      std::lock_guard lock(mutex);
      done = true;
      ready.notify_one();
    });
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return done; });
    if (error) std::rethrow_exception(error);
    return to_result(info.Env(), held_->executable->program(), *step);
  });
}

// profile(on?): time and calls per node so far (ns), compute of linears, arena bytes; a boolean turns timing on or off.
Napi::Value ExecutableObject::profile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (held_->executable == nullptr) throw Error("ERR_DISPOSED", "the executable was disposed");
    if (info.Length() > 0 && info[0].IsBoolean()) held_->executable->set_profiling(info[0].As<Napi::Boolean>().Value());
    const ExecutableInfo data = held_->executable->info();
    Napi::Array nodes = Napi::Array::New(env, data.nodes.size());
    for (uint32_t i = 0; i < data.nodes.size(); i++) {
      Napi::Object node = Napi::Object::New(env);
      node.Set("name", data.nodes[i].name);
      node.Set("op", data.nodes[i].op);
      node.Set("compute", data.nodes[i].compute);
      node.Set("nanoseconds", static_cast<double>(data.nodes[i].nanoseconds));
      node.Set("calls", static_cast<double>(data.nodes[i].calls));
      nodes.Set(i, node);
    }
    Napi::Object out = Napi::Object::New(env);
    out.Set("nodes", nodes);
    out.Set("arenaBytes", static_cast<double>(data.arena_bytes));
    out.Set("steps", static_cast<double>(data.steps));
    out.Set("stages", static_cast<double>(data.stages));
    return out;
  });
}

Napi::Value ExecutableObject::cancel(const Napi::CallbackInfo& info) {
  calls_.cancel();
  return info.Env().Undefined();
}

Napi::Value ExecutableObject::dispose(const Napi::CallbackInfo& info) {
  calls_.cancel();
  // The last reference may be this one: memory is given back on the engine thread, not here.
  if (held_->executable != nullptr)
    life_->device->submit(life_->priority, [last = std::move(held_->executable)]() mutable { last.reset(); });
  held_->executable = nullptr;
  io_.Reset();
  return info.Env().Undefined();
}

}  // namespace verdant
