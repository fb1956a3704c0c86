// Each tier overwrites the entries that it improves; applied weakest first.
#pragma once
#include "core/op.h"

namespace verdant {

void overlay_generic(KernelTable& table);
void overlay_avx2(KernelTable& table);
void overlay_avx512(KernelTable& table);
void overlay_avx512_vnni(KernelTable& table);
void overlay_avx512_bf16(KernelTable& table);
void overlay_avx512_amx_bf16(KernelTable& table);
void overlay_avx512_amx_int8(KernelTable& table);

}  // namespace verdant
