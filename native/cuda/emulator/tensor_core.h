// The arithmetic of Hopper's tensor cores for bf16 operands and f32 sums, alike for mma.sync and wgmma: 16 products and
// the sum before them are cut to multiples of 2^(e - 25), e the largest exponent among them, added exactly, and cut to
// f32.       Xie et al. 2025 (arXiv:2511.10909), Khattak and Mikaitis 2025 (arXiv:2512.07004)
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__clang__) || !defined(__GNUC__)
#define VERDANT_VECTORIZED
#else
#define VERDANT_VECTORIZED __attribute__((optimize("O3")))
#endif

namespace verdant::emulator {

// 16 bf16 numbers: values and exponents, as a sum sees them.
struct Operands {
  double value[16];
  int32_t exponent[16];  // 128: not finite
  int32_t most;

  void set(const uint16_t bits[16]) {
    most = -126;
    for (int k = 0; k < 16; k++) {
      const uint32_t word = uint32_t{bits[k]} << 16;
      float x;
      std::memcpy(&x, &word, sizeof word);
      value[k] = static_cast<double>(x);
      const int32_t own = bits[k] >> 7 & 255;
      exponent[k] = own > 0 ? own - 127 : -126;  // a zero's too
      most = exponent[k] > most ? exponent[k] : most;
    }
  }
};

static inline double power_of_two(int exponent) {
  const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float cut_to_float(double x) {
  const float near = static_cast<float>(x);
  return std::isfinite(near) && std::fabs(static_cast<double>(near)) > std::fabs(x) ? std::nextafterf(near, 0.0f)
                                                                                    : near;
}

// c + sum a[k] b[k].
VERDANT_VECTORIZED static inline float fused_sum(const Operands& a, const Operands& b, float c) {
  uint32_t word;
  std::memcpy(&word, &c, sizeof word);
  const int32_t own = static_cast<int32_t>(word >> 23 & 255) - 127;
  if (a.most == 128 || b.most == 128 || own == 128) {
    double plain = static_cast<double>(c);
    for (int k = 0; k < 16; k++) plain += a.value[k] * b.value[k];
    return static_cast<float>(plain);
  }
  int32_t most = own > -126 ? own : -126;
  for (int k = 0; k < 16; k++) {
    const int32_t exponent = a.exponent[k] + b.exponent[k];
    most = exponent > most ? exponent : most;
  }
  const double scale = power_of_two(25 - most);
  double sum = static_cast<double>(static_cast<int32_t>(static_cast<double>(c) * scale));
  for (int k = 0; k < 16; k++) sum += static_cast<double>(static_cast<int32_t>(a.value[k] * b.value[k] * scale));
  return cut_to_float(sum * power_of_two(most - 25));
}

}  // namespace verdant::emulator
