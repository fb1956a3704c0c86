#pragma once
#include "core/op.h"

namespace verdant {

// activation: y = fn(x).  gelu: x Phi(x) by erf; gelu_tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)));
// silu: x sigmoid(x); quick_gelu: x sigmoid(1.702 x); relu: max(x, 0); tanh; sigmoid; exp.
// gated: y = fn(gate) * up (SwiGLU, GeGLU).
struct ActivationAttrs {
  int64_t fn;
};
constexpr const char* kActivationNames[] = {"gelu", "gelu_tanh", "silu", "quick_gelu", "relu",
                                            "tanh", "sigmoid",   "exp",  nullptr};
enum ActivationFn : int64_t { kGelu, kGeluTanh, kSilu, kQuickGelu, kRelu, kTanh, kSigmoid, kExp };
constexpr AttrDef kActivationFields[] = {{"fn", kAttrChoice, offsetof(ActivationAttrs, fn), kActivationNames},
                                         {nullptr, kAttrInt, 0, nullptr}};
constexpr const char* kUnaryIn[] = {"x", nullptr};
constexpr const char* kUnaryOut[] = {"y", nullptr};
constexpr const char* kGatedIn[] = {"gate", "up", nullptr};
constexpr OpDef kActivationDef = {"activation", kUnaryIn, kUnaryOut, kActivationFields, sizeof(ActivationAttrs)};
constexpr OpDef kGatedDef = {"gated", kGatedIn, kUnaryOut, kActivationFields, sizeof(ActivationAttrs)};

// add, mul: y = a + b, a * b over equal shapes; b may also be a row (cols) that is used for every row of a.
struct BinaryAttrs {
  int64_t unused;
};
constexpr AttrDef kNoFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr const char* kBinaryIn[] = {"a", "b", nullptr};
constexpr OpDef kAddDef = {"add", kBinaryIn, kUnaryOut, kNoFields, sizeof(BinaryAttrs)};
constexpr OpDef kMulDef = {"mul", kBinaryIn, kUnaryOut, kNoFields, sizeof(BinaryAttrs)};

// scale: y = x * factor + offset.   softcap: y = cap * tanh(x / cap) (Gemma 2).
struct ScaleAttrs {
  double factor;
  double offset;
};
constexpr AttrDef kScaleFields[] = {{"factor", kAttrNumber, offsetof(ScaleAttrs, factor), nullptr},
                                    {"offset", kAttrNumber, offsetof(ScaleAttrs, offset), nullptr},
                                    {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kScaleDef = {"scale", kUnaryIn, kUnaryOut, kScaleFields, sizeof(ScaleAttrs)};

struct SoftcapAttrs {
  double cap;
};
constexpr AttrDef kSoftcapFields[] = {{"cap", kAttrNumber, offsetof(SoftcapAttrs, cap), nullptr},
                                      {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kSoftcapDef = {"softcap", kUnaryIn, kUnaryOut, kSoftcapFields, sizeof(SoftcapAttrs)};

}  // namespace verdant
