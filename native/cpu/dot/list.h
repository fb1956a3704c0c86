// The weight types. A new one: its header here and one line in fill_dots.
#include "cpu/dot/tile.h"

#include "cpu/dot/bf16.h"
#include "cpu/dot/f16.h"
#include "cpu/dot/f32.h"
#include "cpu/dot/q4_0.h"
#include "cpu/dot/q8_0.h"

namespace verdant::VERDANT_ISA {

static void fill_dots(KernelTable& table) {
  fill_f32(table);
  fill_f16(table);
  fill_bf16(table);
  fill_q8_0(table);
  fill_q4_0(table);
}

}  // namespace verdant::VERDANT_ISA
