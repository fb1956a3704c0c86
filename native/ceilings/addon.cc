// measureCeilings({ threads, milliseconds, rounds, tier? }): Promise. Threads of its own; the event loop stays free.
#include <node_api.h>

#include <cmath>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "ceilings/measure.h"

namespace verdant_ceilings {
namespace {

struct Job {
  Options options;
  Result result;
  std::string code, problem;  // empty: it went well
  napi_deferred deferred = nullptr;
  napi_threadsafe_function settle = nullptr;
};

napi_value error_of(napi_env env, const std::string& code, const std::string& message) {
  napi_value c, m, error;
  napi_create_string_utf8(env, code.c_str(), code.size(), &c);
  napi_create_string_utf8(env, message.c_str(), message.size(), &m);
  napi_create_error(env, c, m, &error);
  return error;
}

void set_rates(napi_env env, napi_value object, const char* name, const std::vector<double>& rates) {
  napi_value list;
  if (rates.empty()) {
    napi_get_null(env, &list);
  } else {
    napi_create_array_with_length(env, rates.size(), &list);
    for (uint32_t i = 0; i < rates.size(); i++) {
      napi_value number;
      napi_create_double(env, rates[i], &number);
      napi_set_element(env, list, i, number);
    }
  }
  napi_set_named_property(env, object, name, list);
}

napi_value value_of(napi_env env, const Result& result) {
  napi_value object, tier, bytes;
  napi_create_object(env, &object);
  napi_create_string_utf8(env, result.tier.c_str(), result.tier.size(), &tier);
  napi_set_named_property(env, object, "tier", tier);
  napi_create_double(env, static_cast<double>(result.stream_bytes), &bytes);
  napi_set_named_property(env, object, "streamBytes", bytes);
  set_rates(env, object, "stream", result.stream);
  set_rates(env, object, "f32", result.f32);
  set_rates(env, object, "bf16", result.bf16);
  set_rates(env, object, "int8", result.int8);
  return object;
}

// On the JavaScript thread; env is null when the environment is gone.
void settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (env == nullptr) return;
  if (job->code.empty())
    napi_resolve_deferred(env, job->deferred, value_of(env, job->result));
  else
    napi_reject_deferred(env, job->deferred, error_of(env, job->code, job->problem));
}

void run(Job* job) {
  try {
    job->result = measure(job->options);
  } catch (const std::bad_alloc&) {
    job->code = "ERR_OUT_OF_MEMORY";
    job->problem = "no memory for the buffer that the memory stream reads";
  } catch (const std::invalid_argument& e) {
    job->code = "ERR_DEVICE";
    job->problem = e.what();
  } catch (const std::exception& e) {
    job->code = "ERR_DEVICE";
    job->problem = std::string("the ceilings cannot be measured: ") + e.what();
  }
  const napi_threadsafe_function settle = job->settle;
  if (napi_call_threadsafe_function(settle, job, napi_tsfn_blocking) != napi_ok) delete job;
  napi_release_threadsafe_function(settle, napi_tsfn_release);
}

bool number_of(napi_env env, napi_value object, const char* name, double least, double most, double* out) {
  napi_value value;
  double number = 0;
  const bool good = napi_get_named_property(env, object, name, &value) == napi_ok &&
                    napi_get_value_double(env, value, &number) == napi_ok && number >= least && number <= most;
  if (!good) {
    const std::string message =
        std::string(name) + " must be a number from " + std::to_string((int)least) + " to " + std::to_string((int)most);
    napi_throw(env, error_of(env, "ERR_OPTION", message));
    return false;
  }
  *out = number;
  return true;
}

bool options_of(napi_env env, napi_value object, Options* options) {
  double threads, rounds;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, object, &type) != napi_ok || type != napi_object) {
    napi_throw(env, error_of(env, "ERR_OPTION", "measureCeilings takes an object of options"));
    return false;
  }
  if (!number_of(env, object, "threads", 1, 1024, &threads) || !number_of(env, object, "rounds", 1, 1000, &rounds) ||
      !number_of(env, object, "milliseconds", 1, 60000, &options->milliseconds))
    return false;
  options->threads = static_cast<int32_t>(threads);
  options->rounds = static_cast<int32_t>(rounds);
  napi_value tier;
  napi_get_named_property(env, object, "tier", &tier);
  char text[32] = {};
  if (napi_get_value_string_utf8(env, tier, text, sizeof text, nullptr) == napi_ok) options->tier = text;
  return true;
}

napi_value measure_ceilings(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr, promise = nullptr, name = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  auto job = std::make_unique<Job>();
  if (!options_of(env, argument, &job->options)) return nullptr;
  napi_create_string_utf8(env, "verdant_ceilings", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settle,
                                      &job->settle) != napi_ok ||
      napi_create_promise(env, &job->deferred, &promise) != napi_ok) {
    napi_throw(env, error_of(env, "ERR_DEVICE", "the environment takes no more work"));
    return nullptr;
  }
  try {
    std::thread(run, job.get()).detach();
  } catch (const std::exception& e) {
    napi_release_threadsafe_function(job->settle, napi_tsfn_abort);
    napi_throw(env, error_of(env, "ERR_DEVICE", std::string("no thread can be started: ") + e.what()));
    return nullptr;
  }
  job.release();  // settle deletes it
  return promise;
}

}  // namespace
}  // namespace verdant_ceilings

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "measureCeilings", NAPI_AUTO_LENGTH, verdant_ceilings::measure_ceilings, nullptr,
                       &function);
  napi_set_named_property(env, exports, "measureCeilings", function);
  return exports;
}
