// JavaScript values to plain C++ data, on the JavaScript thread.
#pragma once
#include <napi.h>

#include "core/device.h"

namespace verdant {

Program to_program(const Napi::Object& object);
WeightExprPtr to_weight_expr(const Napi::Object& object);
std::vector<int64_t> to_dims(const Napi::Value& value, const Program& program);
// Copies every input of `io` that the program names; a missing, detached or too short array is ERR_INPUT.
void copy_inputs(const Napi::Object& io, const Program& program, Step& step);
// { outputs: { name: typed array }, status, steps }; large buffers are handed over, small ones copied.
Napi::Object to_result(Napi::Env env, const Program& program, Step& step);

}  // namespace verdant
