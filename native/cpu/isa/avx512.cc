// Kernels of the avx512 tier. Sealed: this file sees C headers and our kernel headers only.
#include "cpu/isa/vec_avx512.h"

#define VERDANT_ISA avx512
#include "cpu/rows/list.h"

namespace verdant {

void overlay_avx512(KernelTable& table) { avx512::fill(table); }

}  // namespace verdant
