#include "node/convert.h"

#include <climits>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace verdant {
namespace {

constexpr int64_t kCopyLimit = 64 * 1024;  // bytes up to which an output is copied

[[noreturn]] void bad(const std::string& what) { throw Error("ERR_GRAPH", "program: " + what); }

std::string text(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) bad(std::string(key) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

int64_t integer(const Napi::Value& value, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(std::fabs(number) <= 9007199254740991.0) || number != std::floor(number))
    bad(std::string(what) + " must be an integer");
  return static_cast<int64_t>(number);
}

int64_t integer(const Napi::Object& object, const char* key) { return integer(object.Get(key), key); }

Napi::Object object_of(const Napi::Value& value, const char* what) {
  if (!value.IsObject()) bad(std::string(what) + " must be an object");
  return value.As<Napi::Object>();
}

// Sizes, inodes and times go beyond 2^53: they travel as BigInt.
int64_t big(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  bool lossless = false;
  if (!value.IsBigInt()) bad(std::string(key) + " must be a BigInt");
  return static_cast<int64_t>(value.As<Napi::BigInt>().Uint64Value(&lossless));
}

Napi::Array list(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsArray()) bad(std::string(key) + " must be an array");
  return value.As<Napi::Array>();
}

// Of a value; -1: absent.
int32_t index(const Napi::Value& value, const char* what) {
  const int64_t number = integer(value, what);
  if (number < -1 || number > INT32_MAX)
    bad(std::string(what) + ": value " + std::to_string(number) + " does not exist");
  return static_cast<int32_t>(number);
}

std::vector<int32_t> indices(const Napi::Object& object, const char* key) {
  const Napi::Array array = list(object, key);
  std::vector<int32_t> out;
  for (uint32_t i = 0; i < array.Length(); i++) out.push_back(index(array.Get(i), key));
  return out;
}

DType dtype(const Napi::Object& object) {
  const std::string name = text(object, "dtype");
  for (int32_t t = 0; t < kDTypeCount; t++)
    if (name == dtype_name(static_cast<DType>(t))) return static_cast<DType>(t);
  throw Error("ERR_UNSUPPORTED", "dtype " + name + " is not supported");
}

std::shared_ptr<std::vector<uint8_t>> bytes(const Napi::Object& object) {
  const Napi::Value value = object.Get("data");
  if (!value.IsTypedArray()) bad("data of a bytes weight must be a typed array");
  const auto array = value.As<Napi::TypedArray>();
  const auto* begin = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  return std::make_shared<std::vector<uint8_t>>(begin, begin + array.ByteLength());
}

WeightExpr::Kind weight_kind(const std::string& name) {
  constexpr const char* kNames[] = {"file",        "bytes",        "random", "transpose", "slice",
                                    "concat_rows", "permute_rows", "cast",   "taps",      "weight_norm"};
  for (int32_t i = 0; i < 10; i++)
    if (name == kNames[i]) return static_cast<WeightExpr::Kind>(i);
  bad("unknown weight expression " + name);
}

WeightExprPtr to_weight(const Napi::Object& object, int32_t depth = 0) {
  if (depth > 16) bad("weight expression nested deeper than 16");
  auto expr = std::make_shared<WeightExpr>();
  using Kind = WeightExpr::Kind;
  expr->kind = weight_kind(text(object, "kind"));
  expr->dtype = dtype(object);
  expr->rows = integer(object, "rows");
  expr->cols = integer(object, "cols");
  if (expr->rows < 0 || expr->cols < 0 || expr->rows > (int64_t{1} << 40) || expr->cols > (int64_t{1} << 40))
    bad("weight size out of range");
  if (expr->kind == Kind::file) {
    const Napi::Object file = object_of(object.Get("file"), "file of a weight");
    expr->file =
        std::make_shared<FileIdentity>(FileIdentity{text(file, "path"), static_cast<uint64_t>(big(file, "size")),
                                                    static_cast<uint64_t>(big(file, "inode")), big(file, "mtimeNs")});
    expr->offset = static_cast<uint64_t>(integer(object, "offset"));
    expr->tensor = text(object, "tensor");
  } else if (expr->kind == Kind::bytes) {
    expr->data = bytes(object);
  } else if (expr->kind == Kind::random) {
    expr->seed = static_cast<uint64_t>(integer(object, "seed"));
    expr->mean = object.Get("mean").ToNumber().DoubleValue();
    expr->std = object.Get("std").ToNumber().DoubleValue();
  } else {
    const Napi::Array of = list(object, "of");
    for (uint32_t i = 0; i < of.Length(); i++)
      expr->of.push_back(to_weight(object_of(of.Get(i), "part of a weight"), depth + 1));
    if (expr->kind == Kind::slice) expr->begin = integer(object, "begin");
    if (expr->kind == Kind::permute_rows) expr->heads = integer(object, "heads");
    if (expr->kind == Kind::taps) expr->kernel = integer(object, "kernel");
  }
  return expr;
}

Value to_value(const Napi::Object& object, const std::vector<std::string>& dims) {
  Value value;
  const std::string kind = text(object, "kind");
  value.kind = kind == "input"    ? ValueKind::input
               : kind == "weight" ? ValueKind::weight
               : kind == "state"  ? ValueKind::state
               : kind == "temp"   ? ValueKind::temp
                                  : (bad("unknown value kind " + kind), ValueKind::temp);
  value.name = text(object, "name");
  value.dtype = dtype(object);
  const Napi::Array shape = list(object, "shape");
  for (uint32_t i = 0; i < shape.Length(); i++) {
    const Napi::Value entry = shape.Get(i);
    DimRef ref;
    if (entry.IsString()) {
      const std::string name = entry.As<Napi::String>().Utf8Value();
      for (size_t d = 0; d < dims.size(); d++)
        if (dims[d] == name) ref.dim = static_cast<int32_t>(d);
      if (ref.dim < 0) bad("unknown dim " + name);
    } else {
      ref.size = integer(entry, "shape");
    }
    value.shape.push_back(ref);
  }
  if (value.kind == ValueKind::weight) value.weight = to_weight(object_of(object.Get("weight"), "weight"));
  return value;
}

Node to_node(const Napi::Object& object) {
  Node node{text(object, "op"), text(object, "name"), indices(object, "inputs"), indices(object, "outputs"), {}};
  const Napi::Object attrs = object_of(object.Get("attrs"), "attrs");
  const Napi::Array names = attrs.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value value = attrs.Get(name);
    if (value.IsNumber())
      node.attrs[name] = value.As<Napi::Number>().DoubleValue();
    else if (value.IsBoolean())
      node.attrs[name] = value.As<Napi::Boolean>().Value();
    else if (value.IsString())
      node.attrs[name] = value.As<Napi::String>().Utf8Value();
    else
      bad(node.op + " " + node.name + ": attribute " + name + " must be a number, boolean or string");
  }
  return node;
}

Loop to_loop(const Napi::Object& object) {
  const auto value = [&](const char* key) { return index(object.Get(key), key); };
  return {value("idsOutput"),   value("idsInput"), indices(object, "increments"),
          value("stopOffsets"), value("stopIds"),  value("remaining")};
}

template <class F>
void each(const Napi::Object& object, const char* key, F f) {
  const Napi::Array array = list(object, key);
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::HandleScope scope(array.Env());
    f(array.Get(i));
  }
}

Napi::ArrayBuffer to_buffer(Napi::Env env, Step::OutputBuffer& output, int64_t bytes) {
  napi_value buffer = nullptr;
  if (bytes > kCopyLimit) {
    uint8_t* data = output.data.get();
    const auto free = [](napi_env, void* p, void*) { delete[] static_cast<uint8_t*>(p); };
    if (napi_create_external_arraybuffer(env, data, static_cast<size_t>(bytes), free, nullptr, &buffer) == napi_ok) {
      output.data.release();
      return Napi::ArrayBuffer(env, buffer);
    }
  }
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, static_cast<size_t>(bytes));
  std::memcpy(copy.Data(), output.data.get(), static_cast<size_t>(bytes));
  return copy;
}

}  // namespace

Program to_program(const Napi::Object& object) {
  Program program;
  program.name = text(object, "name");
  each(object, "dims", [&](const Napi::Value& v) { program.dims.push_back(v.ToString().Utf8Value()); });
  each(object, "values",
       [&](const Napi::Value& v) { program.values.push_back(to_value(object_of(v, "value"), program.dims)); });
  each(object, "nodes", [&](const Napi::Value& v) { program.nodes.push_back(to_node(object_of(v, "node"))); });
  each(object, "outputs", [&](const Napi::Value& v) {
    const Napi::Object o = object_of(v, "output");
    program.outputs.push_back({text(o, "name"), index(o.Get("value"), "value")});
  });
  const Napi::Value loop = object.Get("loop");
  program.has_loop = loop.IsObject();
  if (program.has_loop) program.loop = to_loop(loop.As<Napi::Object>());
  validate(program);
  return program;
}

WeightExprPtr to_weight_expr(const Napi::Object& object) { return to_weight(object); }

std::vector<int64_t> to_dims(const Napi::Value& value, const Program& program) {
  if (!value.IsArray()) throw Error("ERR_INPUT", "dims must be an array");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() != program.dims.size())
    throw Error("ERR_INPUT", "dims: expected " + std::to_string(program.dims.size()) + " sizes, found " +
                                 std::to_string(array.Length()));
  std::vector<int64_t> dims;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value entry = array.Get(i);
    const double size = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : -1;
    if (!(size >= 0 && size <= 1e9) || size != std::floor(size))
      throw Error("ERR_INPUT", "dim " + program.dims[i] + " must be an integer from 0 to 1e9");
    dims.push_back(static_cast<int64_t>(size));
  }
  return dims;
}

void copy_inputs(const Napi::Object& io, const Program& program, Step& step) {
  for (const Value& value : program.values) {
    if (value.kind != ValueKind::input) continue;
    const Napi::Value entry = io.Get(value.name);
    if (!entry.IsTypedArray()) throw Error("ERR_INPUT", "input " + value.name + " must be a typed array");
    const auto array = entry.As<Napi::TypedArray>();
    const napi_typedarray_type wanted = value.dtype == kF32   ? napi_float32_array
                                        : value.dtype == kI32 ? napi_int32_array
                                                              : napi_uint8_array;
    if (array.TypedArrayType() != wanted)
      throw Error("ERR_INPUT", "input " + value.name + " must be a typed array of " + dtype_name(value.dtype));
    size_t bytes = value.dtype == kU8 ? 1 : 4;
    for (const DimRef& d : value.shape) bytes *= static_cast<size_t>(d.dim >= 0 ? step.dims[d.dim] : d.size);
    if (array.ByteLength() < bytes)
      throw Error("ERR_INPUT", "input " + value.name + " must hold " + std::to_string(bytes) + " bytes, holds " +
                                   std::to_string(array.ByteLength()));
    const auto* begin = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    step.inputs.emplace_back(begin, begin + bytes);
  }
}

Napi::Object to_result(Napi::Env env, const Program& program, Step& step) {
  Napi::Object outputs = Napi::Object::New(env);
  for (size_t o = 0; o < program.outputs.size(); o++) {
    const int64_t bytes = step.outputs[o].bytes * step.steps_done;
    const Napi::ArrayBuffer buffer = to_buffer(env, step.outputs[o], bytes);
    const size_t count = static_cast<size_t>(bytes / 4);
    const bool floats = program.values[program.outputs[o].value].dtype == kF32;
    if (floats)
      outputs.Set(program.outputs[o].name, Napi::Float32Array::New(env, count, buffer, 0));
    else
      outputs.Set(program.outputs[o].name, Napi::Int32Array::New(env, count, buffer, 0));
  }
  Napi::Int32Array status = Napi::Int32Array::New(env, step.status.size());
  if (!step.status.empty()) std::memcpy(status.Data(), step.status.data(), step.status.size() * 4);
  Napi::Object result = Napi::Object::New(env);
  result.Set("outputs", outputs);
  result.Set("status", status);
  result.Set("steps", Napi::Number::New(env, step.steps_done));
  return result;
}

}  // namespace verdant
