#pragma once
#include "core/op.h"

namespace verdant {

// log_mel: x (rows, mels) power of a spectrum in mel bands, starts (seq_bounds) i32 -> y (rows, mels): with
//   l = log10(max(x, 1e-10)), y = (max(l, m - 8) + 4) / 4, where m is the largest l of the sequence
// (Whisper: Radford et al. 2022; 80 dB of range below the loudest band of the whole recording).
struct LogMelAttrs {
  int64_t unused;
};
constexpr const char* kLogMelIn[] = {"x", "starts", nullptr};
constexpr const char* kLogMelOut[] = {"y", nullptr};
constexpr AttrDef kLogMelFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kLogMelDef = {"log_mel", kLogMelIn, kLogMelOut, kLogMelFields, sizeof(LogMelAttrs)};

}  // namespace verdant
