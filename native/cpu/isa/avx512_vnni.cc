// The overlay for AVX512_VNNI: the int8 kernels with vpdpbusd. Sealed: this file sees C headers and our kernel headers
// only.
#include "cpu/isa/vec_avx512.h"

#define VERDANT_ISA avx512
#include "cpu/dot/tile.h"

#include "cpu/dot/int8.h"
#include "cpu/dot/quants.h"
#include "cpu/overlays.h"

namespace verdant {

void overlay_avx512_vnni(KernelTable& table) { avx512::fill_quants<avx512::Fill<true, false>>(table); }

}  // namespace verdant
