#include <thread>

#include "node/convert.h"
#include "node/objects.h"

namespace verdant {

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(
      env, "Model",
      {InstanceMethod<&ModelObject::compile>("compile"), InstanceMethod<&ModelObject::progress>("progress"),
       InstanceMethod<&ModelObject::cancel>("cancel"), InstanceMethod<&ModelObject::info>("info"),
       InstanceMethod<&ModelObject::ceilings>("ceilings"), InstanceMethod<&ModelObject::dispose>("dispose")});
}

Napi::Object ModelObject::make(Napi::Env env, std::shared_ptr<Model> model, std::shared_ptr<Lifecycle> life) {
  const Napi::Object object =
      EnvState::of(env)->model_constructor.New({Napi::External<void>::New(env, &EnvState::of(env)->model_constructor)});
  ModelObject* self = Unwrap(object);
  self->model_ = std::move(model);
  self->life_ = std::move(life);
  return object;
}

ModelObject::ModelObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info), control_(std::make_shared<CompileControl>()) {
  if (info.Length() != 1 || !info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "Model is made by open()");
}

ModelObject::~ModelObject() {
  if (control_ != nullptr) control_->cancelled = true;
  if (model_ != nullptr) life_->device->submit(life_->priority, [held = std::move(model_)]() mutable { held.reset(); });
  if (accounted_ != 0) Napi::MemoryManagement::AdjustExternalMemory(Env(), -accounted_);
}

// Tells V8 what this object keeps alive, so that forgotten models are collected.
void ModelObject::account(Napi::Env env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes - accounted_);
  accounted_ = bytes;
}

// compile(program, io): reads and packs weights on a thread of its own; io holds the input arrays, by name.
Napi::Value ModelObject::compile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (model_ == nullptr || life_->disposed.load()) throw Error("ERR_DISPOSED", "the model was disposed");
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsObject())
      throw Error("ERR_INPUT", "compile takes a program and an io object");
    auto program = std::make_shared<Program>(to_program(info[0].As<Napi::Object>()));
    const auto state = EnvState::of(env);
    const EnvState::Pending pending = state->begin(env);
    // Held until the promise settles; made and dropped on the JavaScript thread.
    auto io = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[1].As<Napi::Object>()));
    auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(Value()));
    auto* held = new std::pair(std::move(io), std::move(self));
    std::thread([=, this, model = model_, life = life_, control = control_, id = pending.id]() mutable {
      std::exception_ptr error;
      std::shared_ptr<Executable> executable;
      ModelInfo data;
      try {
        executable = model->compile(std::move(*program), *control);
        data = model->info();
      } catch (...) {
        error = std::current_exception();
      }
      model.reset();  // from here on only what JavaScript holds keeps weights and state
      state->settle(id, [=, this, executable = std::move(executable)](Napi::Env env) -> Napi::Value {
        const auto references = std::unique_ptr<std::remove_pointer_t<decltype(held)>>(held);
        if (error) std::rethrow_exception(error);
        if (life->disposed.load()) throw Error("ERR_DISPOSED", "the model was disposed");
        account(env, data.weight_bytes);
        return ExecutableObject::make(env, executable, life, references->first->Value());
      });
    }).detach();
    return pending.promise;
  });
}

Napi::Value ModelObject::progress(const Napi::CallbackInfo& info) {
  Napi::Array out = Napi::Array::New(info.Env(), 2);
  out.Set(0u, static_cast<double>(control_->bytes_done.load()));
  out.Set(1u, static_cast<double>(control_->bytes_total.load()));
  return out;
}

Napi::Value ModelObject::cancel(const Napi::CallbackInfo& info) {
  control_->cancelled = true;
  control_ = std::make_shared<CompileControl>();
  return info.Env().Undefined();
}

Napi::Value ModelObject::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (model_ == nullptr) throw Error("ERR_DISPOSED", "the model was disposed");
    const ModelInfo data = model_->info();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("weightBytes", static_cast<double>(data.weight_bytes));
    out.Set("stateBytes", static_cast<double>(data.state_bytes));
    out.Set("deviceFreeBytes", static_cast<double>(data.device_free));
    out.Set("deviceTotalBytes", static_cast<double>(data.device_total));
    return out;
  });
}

// ceilings(): bytes and operations per second that the device gives at most, measured now; 0: not measured here.
Napi::Value ModelObject::ceilings(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (model_ == nullptr) throw Error("ERR_DISPOSED", "the model was disposed");
    const auto state = EnvState::of(info.Env());
    const EnvState::Pending pending = state->begin(info.Env());
    life_->device->submit(life_->priority, [state, id = pending.id, model = model_]() mutable {
      std::exception_ptr error;
      DeviceCeilings found;
      try {
        found = model->ceilings();
      } catch (...) {
        error = std::current_exception();
      }
      model.reset();
      state->settle(id, [found, error](Napi::Env env) -> Napi::Value {
        if (error) std::rethrow_exception(error);
        Napi::Object out = Napi::Object::New(env);
        out.Set("stream", found.stream);
        out.Set("f32", found.f32);
        out.Set("bf16", found.bf16);
        return out;
      });
    });
    return pending.promise;
  });
}

// dispose(): what is queued is rejected, what runs finishes; the promise settles when this object's hold is gone.
Napi::Value ModelObject::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    life_->disposed = true;
    control_->cancelled = true;
    account(env, 0);
    const auto state = EnvState::of(env);
    const EnvState::Pending pending = state->begin(env);
    // Weights and state are also held by what was compiled: it goes with the model.
    std::vector<std::shared_ptr<Executable>> executables;
    for (const auto& weak : life_->executables)
      if (const auto held = weak.lock()) executables.push_back(std::move(held->executable));
    life_->executables.clear();
    life_->device->submit(life_->priority, [state, id = pending.id, held = std::move(model_),
                                            compiled = std::move(executables)]() mutable {
      compiled.clear();
      held.reset();
      state->settle(id, [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
    });
    model_ = nullptr;
    return pending.promise;
  });
}

}  // namespace verdant
