// Kernels of the avx2 tier. Sealed: this file sees C headers and our kernel headers only.
#include "cpu/isa/vec_avx2.h"

#define VERDANT_ISA avx2
#include "cpu/rows/list.h"

namespace verdant {

void overlay_avx2(KernelTable& table) { avx2::fill(table); }

}  // namespace verdant
