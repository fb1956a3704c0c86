// The arithmetic of Hopper's tensor cores for bf16 operands and f32 sums, alike for mma.sync and wgmma: 16 products and
// the sum before them are cut to multiples of 2^(e - 25), e the largest exponent among them, added exactly, and cut to
// f32.       Xie et al. 2025 (arXiv:2511.10909), Khattak and Mikaitis 2025 (arXiv:2512.07004)
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace verdant::emulator {

// A bf16 number: value and exponent, as the sum sees it.
struct Operand {
  float value;
  int exponent;
};

static inline Operand operand(uint32_t bits) {
  const uint32_t word = bits << 16;
  const int exponent = static_cast<int>(bits >> 7 & 255);
  Operand o;
  std::memcpy(&o.value, &word, sizeof word);
  o.exponent = (exponent == 0 ? 1 : exponent) - 127;
  return o;
}

static inline double power_of_two(int exponent) {
  const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// c + sum a[k] b[k] of 16.
static inline float fused_sum(const Operand* a, const Operand* b, float c) {
  uint32_t word;
  std::memcpy(&word, &c, sizeof word);
  const int own = static_cast<int>(word >> 23 & 255);
  int most = (own == 0 ? 1 : own) - 127;
  double product[16], plain = static_cast<double>(c);
  for (int k = 0; k < 16; k++) {
    product[k] = static_cast<double>(a[k].value) * static_cast<double>(b[k].value);
    plain += product[k];
    const int exponent = product[k] == 0.0 ? -126 : a[k].exponent + b[k].exponent;
    most = exponent > most ? exponent : most;
  }
  if (!std::isfinite(plain)) return static_cast<float>(plain);
  const double scale = power_of_two(25 - most);
  int64_t sum = static_cast<int64_t>(static_cast<double>(c) * scale);
  for (int k = 0; k < 16; k++) sum += static_cast<int64_t>(product[k] * scale);
  const double exact = static_cast<double>(sum) * power_of_two(most - 25);
  const float near = static_cast<float>(exact);
  if (std::isinf(near)) return near;
  return std::fabs(static_cast<double>(near)) > std::fabs(exact) ? std::nextafterf(near, 0.0f) : near;
}

}  // namespace verdant::emulator
