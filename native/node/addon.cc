// The native surface: devices, loadDevice, ops, open, readWeight. The only folder that knows Node.
#include <napi.h>

#include <cmath>

#include "node/device_list.h"
#include "node/objects.h"
#include "node/read_weight.h"
#include "ops/list.h"

namespace verdant {
namespace {

Napi::Value devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::vector<DeviceInfo> list = list_devices();
    Napi::Array out = Napi::Array::New(env, list.size());
    for (uint32_t i = 0; i < list.size(); i++) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", list[i].name);
      entry.Set("description", list[i].description);
      entry.Set("usable", list[i].usable);
      entry.Set("threads", list[i].threads);
      out.Set(i, entry);
    }
    return out;
  });
}

Napi::Array names(Napi::Env env, const char* const* list) {
  Napi::Array out = Napi::Array::New(env);
  for (uint32_t i = 0; list[i] != nullptr; i++) out.Set(i, list[i]);
  return out;
}

Napi::Object op_info(Napi::Env env, const OpDef& def) {
  constexpr const char* kTypes[] = {"integer", "number", "boolean", "choice"};
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", def.name);
  out.Set("inputs", names(env, def.inputs));
  out.Set("outputs", names(env, def.outputs));
  Napi::Object attrs = Napi::Object::New(env);
  for (const AttrDef* a = def.attrs; a->name != nullptr; a++) {
    if (a->type == kAttrChoice)
      attrs.Set(a->name, names(env, a->choices));
    else
      attrs.Set(a->name, kTypes[a->type]);
  }
  out.Set("attrs", attrs);
  return out;
}

// ops(): names, inputs, outputs, attributes; the columns of sample's tables too. A test compares it with lib/ops.
Napi::Value ops(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Array out = Napi::Array::New(env, kOpCount);
    for (uint32_t i = 0; i < kOpCount; i++) {
      Napi::Object entry = op_info(env, *kOps[i]);
      if (i == kOpSample) {
        entry.Set("numberColumns", names(env, kSampleNumberColumns));
        entry.Set("integerColumns", names(env, kSampleIntegerColumns));
      }
      out.Set(i, entry);
    }
    return out;
  });
}

OpenOptions to_options(const Napi::Value& value) {
  OpenOptions options;
  if (!value.IsObject()) return options;
  const Napi::Object object = value.As<Napi::Object>();
  const auto number = [&](const char* key, int32_t least, int32_t most, int32_t absent) {
    const Napi::Value entry = object.Get(key);
    if (entry.IsUndefined()) return absent;
    const double n = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : -1e9;
    if (!(n >= least && n <= most) || n != std::floor(n))
      throw Error("ERR_OPTION", std::string(key) + " must be an integer from " + std::to_string(least) + " to " +
                                    std::to_string(most));
    return static_cast<int32_t>(n);
  };
  options.threads = number("threads", 1, 256, 0);
  options.priority = number("priority", -100, 100, 0);
  return options;
}

// open(device, { threads?, priority? }): Promise<Model>
Napi::Value open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (info.Length() < 1 || !info[0].IsString()) throw Error("ERR_OPTION", "open takes the name of a device");
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    const OpenOptions options = to_options(info.Length() > 1 ? info[1] : env.Undefined());
    auto life = std::make_shared<Lifecycle>();
    life->device = &device_named(name);
    life->priority = options.priority;
    const auto state = EnvState::of(env);
    const EnvState::Pending pending = state->begin(env);
    life->device->submit(life->priority, [=, id = pending.id] {
      std::shared_ptr<Model> model;
      std::exception_ptr error;
      try {
        model = life->device->open(name, options);
      } catch (...) {
        error = std::current_exception();
      }
      state->settle(id, [=](Napi::Env env) -> Napi::Value {
        if (error) std::rethrow_exception(error);
        return ModelObject::make(env, model, life);
      });
    });
    return pending.promise;
  });
}

// loadDevice(path): adds the devices of a library to those of this process.
Napi::Value load_device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (info.Length() < 1 || !info[0].IsString()) throw Error("ERR_OPTION", "loadDevice takes the path of a library");
    load_device_library(info[0].As<Napi::String>().Utf8Value());
    return info.Env().Undefined();
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  EnvState::create(env);
  const auto state = EnvState::of(env);
  state->model_constructor = Napi::Persistent(ModelObject::define(env));
  state->executable_constructor = Napi::Persistent(ExecutableObject::define(env));
  exports.Set("devices", Napi::Function::New<devices>(env, "devices"));
  exports.Set("loadDevice", Napi::Function::New<load_device>(env, "loadDevice"));
  exports.Set("ops", Napi::Function::New<ops>(env, "ops"));
  exports.Set("open", Napi::Function::New<verdant::open>(env, "open"));
  exports.Set("readWeight", Napi::Function::New<read_weight>(env, "readWeight"));
  return exports;
}

}  // namespace
}  // namespace verdant

static Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return verdant::init(env, exports); }
NODE_API_MODULE(verdant, InitModule)
