// Kernels of the generic tier. Sealed: this file sees C headers and our kernel headers only.
#include "cpu/isa/vec_generic.h"

#define VERDANT_ISA generic
#include "cpu/rows/list.h"

namespace verdant {

void overlay_generic(KernelTable& table) { generic::fill(table); }

}  // namespace verdant
