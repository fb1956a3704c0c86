#include "node/env.h"

#include <new>

namespace verdant {

std::shared_ptr<EnvState> EnvState::of(Napi::Env env) { return *env.GetInstanceData<std::shared_ptr<EnvState>>(); }

void EnvState::create(Napi::Env env) {
  auto state = std::make_shared<EnvState>();
  napi_value name;
  napi_create_string_utf8(env, "verdant", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, state.get(), drain,
                                  &state->tsfn_);
  napi_unref_threadsafe_function(env, state->tsfn_);
  env.SetInstanceData(new std::shared_ptr<EnvState>(state));
  // Hooks run last-in first-out: made after the function, so it runs before Node closes the function.
  auto* held = new std::shared_ptr<EnvState>(state);
  napi_add_env_cleanup_hook(
      env,
      [](void* data) {
        auto* state = static_cast<std::shared_ptr<EnvState>*>(data);
        (*state)->close();
        delete state;
      },
      held);
}

void EnvState::close() {
  std::deque<Done> dropped;
  {
    std::lock_guard lock(mutex_);
    alive_ = false;
    dropped.swap(done_);
  }
  deferred_.clear();
  model_constructor.Reset();
  executable_constructor.Reset();
}

EnvState::Pending EnvState::begin(Napi::Env env) {
  const uint64_t id = next_id_++;
  const auto deferred = deferred_.emplace(id, Napi::Promise::Deferred::New(env)).first;
  if (deferred_.size() == 1) napi_ref_threadsafe_function(env, tsfn_);
  return {id, deferred->second.Promise()};
}

void EnvState::settle(uint64_t id, std::function<Napi::Value(Napi::Env)> make) {
  std::lock_guard lock(mutex_);
  if (!alive_) return;
  done_.push_back({id, std::move(make)});
  if (done_.size() == 1) napi_call_threadsafe_function(tsfn_, nullptr, napi_tsfn_nonblocking);
}

void EnvState::drain(napi_env raw, napi_value, void* context, void*) {
  if (raw == nullptr) return;
  const auto state = static_cast<EnvState*>(context)->shared_from_this();
  const Napi::Env env(raw);
  std::deque<Done> done;
  {
    std::lock_guard lock(state->mutex_);
    done.swap(state->done_);
  }
  for (const Done& d : done) {
    const Napi::HandleScope scope(env);
    state->finish(env, d.id, d.make);
  }
}

void EnvState::finish(Napi::Env env, uint64_t id, const std::function<Napi::Value(Napi::Env)>& make) {
  const auto found = deferred_.find(id);
  if (found == deferred_.end()) return;
  const Napi::Promise::Deferred deferred = found->second;
  deferred_.erase(found);
  if (deferred_.empty()) napi_unref_threadsafe_function(env, tsfn_);
  try {
    try {
      deferred.Resolve(make(env));
    } catch (const Napi::Error& error) {
      deferred.Reject(error.Value());
    } catch (...) {
      deferred.Reject(current_error(env).Value());
    }
  } catch (...) {
    // The environment is ending and takes neither values nor errors: nobody waits for this promise any more.
  }
}

Napi::Error current_error(Napi::Env env) {
  const auto make = [env](const char* code, const std::string& message) {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
  };
  try {
    throw;
  } catch (const Error& error) {
    return make(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return make("ERR_OUT_OF_MEMORY", "native memory is exhausted");
  } catch (const std::exception& error) {
    return make("ERR_NATIVE", error.what());
  } catch (...) {
    return make("ERR_NATIVE", "unknown native error");
  }
}

}  // namespace verdant
