// Plain C++ for every platform: what the compiler makes of it is the ceiling of the generic tier.
#include <string.h>

#include "ceilings/loops.h"

namespace verdant_ceilings {
namespace {

constexpr int kLanes = 4, kShort = 12;

void f32(int64_t blocks, void* sink) {
  float r[kShort][kLanes], a[kLanes];
  memcpy(a, sink, sizeof a);
  for (int i = 0; i < kShort; i++)
    for (int j = 0; j < kLanes; j++) r[i][j] = 0.5f + 0.01f * static_cast<float>(i);
  for (int64_t n = 0; n < blocks; n++)
    for (int i = 0; i < kShort; i++)
      for (int j = 0; j < kLanes; j++) r[i][j] = r[i][j] * a[j] + a[j];  // towards a / (1 - a)
  for (int i = 1; i < kShort; i++)
    for (int j = 0; j < kLanes; j++) r[0][j] += r[i][j];
  memcpy(sink, r[0], sizeof r[0]);
}

void stream(const uint8_t* begin, int64_t bytes, void* sink) {
  uint64_t r[8] = {};
  for (int64_t at = 0; at < bytes; at += 64) {
    uint64_t x[8];
    memcpy(x, begin + at, sizeof x);
    for (int i = 0; i < 8; i++) r[i] ^= x[i];
  }
  memcpy(sink, r, sizeof r);
}

}  // namespace

void add_generic(Loops& loops) {
  loops.f32 = {f32, 2.0 * kLanes * kShort};
  loops.stream = stream;
}

}  // namespace verdant_ceilings
