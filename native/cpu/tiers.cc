#include "cpu/tiers.h"

#include "core/amx.h"
#include "cpu/overlays.h"

namespace verdant {
namespace {

struct Features {
  bool avx2 = false, avx512 = false, vnni = false, bf16 = false, fast_bf16 = false, amx = false;
};

// The compiler's run-time checks include the operating system's part (xgetbv).
Features features() {
  Features f;
#if defined(VERDANT_HAVE_X64)
  __builtin_cpu_init();
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("bmi2");
  f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  f.vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
  f.bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
  // Intel's vdpbf16ps does half the products of its f32 FMA in a second (its bf16 unit is AMX), AMD's twice as many.
  f.fast_bf16 = f.bf16 && !__builtin_cpu_is("intel");
  f.amx = f.bf16 && amx_allowed();
#endif
  return f;
}

}  // namespace

std::vector<Tier> cpu_tiers() {
  const Features f = features();
  std::string overlays = f.avx512 ? "AVX-512 F, BW, DQ, VL" : "needs AVX-512 F, BW, DQ and VL";
  if (f.vnni) overlays += " + VNNI";
  if (f.amx)
    overlays += " + AMX";
  else if (f.bf16)
    overlays += f.fast_bf16 ? " + BF16" : " + BF16 (slow: auto takes f32)";
  return {{"avx512", overlays, f.avx512},
          {"avx2", f.avx2 ? "AVX2, FMA, F16C" : "needs AVX2, FMA and F16C", f.avx2},
          {"generic", "plain C++", true}};
}

KernelTable tier_kernels(const std::string& tier) {
  KernelTable table{};
  overlay_generic(table);
#if defined(VERDANT_HAVE_X64)
  const Features f = features();
  if (tier == "avx2" || tier == "avx512") overlay_avx2(table);
  if (tier == "avx512") {
    overlay_avx512(table);
    if (f.vnni) overlay_avx512_vnni(table);
    if (f.bf16) overlay_avx512_bf16(table);
    table.auto_bf16 = f.fast_bf16 || f.amx;
    if (f.amx) {
      overlay_avx512_amx_bf16(table);
      overlay_avx512_amx_int8(table);
    }
  }
#endif
  return table;
}

}  // namespace verdant
