// Weight expressions evaluated for JavaScript, which writes them to files.
#pragma once
#include <napi.h>

namespace verdant {

// readWeight(expr, row, count): Promise<ArrayBuffer> with these rows in stored form.
Napi::Value read_weight(const Napi::CallbackInfo& info);

}  // namespace verdant
