#pragma once
#include "core/op.h"

namespace verdant {

// token_logprob: logits (rows, vocab), targets (rows) i32 -> logprobs (rows) = log softmax(logits[r])[targets[r]]
struct TokenLogprobAttrs {
  int64_t unused;
};
constexpr const char* kTokenLogprobIn[] = {"logits", "targets", nullptr};
constexpr const char* kTokenLogprobOut[] = {"logprobs", nullptr};
constexpr AttrDef kTokenLogprobFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kTokenLogprobDef = {"token_logprob", kTokenLogprobIn, kTokenLogprobOut, kTokenLogprobFields,
                                    sizeof(TokenLogprobAttrs)};

}  // namespace verdant
