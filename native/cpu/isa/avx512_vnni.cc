// The overlay for AVX512_VNNI. It has no entries: vpdpbusd serves int8 activations, which no compute mode uses yet.
#include "cpu/overlays.h"

namespace verdant {

void overlay_avx512_vnni(KernelTable&) {}

}  // namespace verdant
