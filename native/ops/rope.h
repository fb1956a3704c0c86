#pragma once
#include "core/op.h"

namespace verdant {

// rope_table: positions (rows) i32, inv_freq (variants, half) f32, lengths? (rows) i32 -> table (rows, 2 * half):
//   half cosines, then half sines of positions[r] * inv_freq, times `attention_scaling`; angles in double.
//   rule "static": variant 0.  "longrope": variant 1 where lengths[r] > original, else 0 (Phi-3).
//   "dynamic": where lengths[r] > original, inv_freq is made anew from theta grown by
//     (factor * len / original - (factor - 1)) ^ (dim / (dim - 2)), dim = 2 * half  (dynamic NTK, Llama).
//   lengths[r] is the length of the sequence that a row's angle is computed for.
struct RopeTableAttrs {
  int64_t rule;
  double attention_scaling;
  double attention_scaling_long;  // of variant 1
  double theta;
  double factor;
  int64_t original;
};
constexpr const char* kRopeRules[] = {"static", "longrope", "dynamic", nullptr};
constexpr const char* kRopeTableIn[] = {"positions", "inv_freq", "lengths?", nullptr};
constexpr const char* kRopeTableOut[] = {"table", nullptr};
constexpr AttrDef kRopeTableFields[] = {
    {"rule", kAttrChoice, offsetof(RopeTableAttrs, rule), kRopeRules},
    {"attention_scaling", kAttrNumber, offsetof(RopeTableAttrs, attention_scaling), nullptr},
    {"attention_scaling_long", kAttrNumber, offsetof(RopeTableAttrs, attention_scaling_long), nullptr},
    {"theta", kAttrNumber, offsetof(RopeTableAttrs, theta), nullptr},
    {"factor", kAttrNumber, offsetof(RopeTableAttrs, factor), nullptr},
    {"original", kAttrInt, offsetof(RopeTableAttrs, original), nullptr},
    {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kRopeTableDef = {"rope_table", kRopeTableIn, kRopeTableOut, kRopeTableFields, sizeof(RopeTableAttrs)};

// rope: x (rows, heads * head_dim), table (rows, 2 * half) -> y like x. The first 2 * half entries of each head turn:
//   halves:      (x[i], x[i + half]) by angle i        (Hugging Face)
//   interleaved: (x[2i], x[2i + 1]) by angle i         (GPT-J)
//   y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; the rest of a head passes unchanged.
struct RopeAttrs {
  int64_t head_dim;
  int64_t interleaved;
};
constexpr const char* kRopeIn[] = {"x", "table", nullptr};
constexpr const char* kRopeOut[] = {"y", nullptr};
constexpr AttrDef kRopeFields[] = {{"head_dim", kAttrInt, offsetof(RopeAttrs, head_dim), nullptr},
                                   {"interleaved", kAttrBool, offsetof(RopeAttrs, interleaved), nullptr},
                                   {nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kRopeDef = {"rope", kRopeIn, kRopeOut, kRopeFields, sizeof(RopeAttrs)};

}  // namespace verdant
