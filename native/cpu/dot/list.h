// The weight types. A new one: its header here and one line in fill_dots; one in blocks: quants.h.
#include "cpu/dot/tile.h"

#include "cpu/dot/bf16.h"
#include "cpu/dot/f16.h"
#include "cpu/dot/f32.h"
#include "cpu/dot/int8.h"
#include "cpu/dot/quantize.h"
#include "cpu/dot/quants.h"

namespace verdant::VERDANT_ISA {

static void fill_dots(KernelTable& table) {
  fill_f32(table);
  fill_f16(table);
  fill_bf16(table);
  fill_quants<Fill<kInt8Kernels, true>>(table);
}

}  // namespace verdant::VERDANT_ISA
