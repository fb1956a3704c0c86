namespace verdant::VERDANT_ISA {

// f32 panels: [k][16]. The type itself is in tile.h: decoded panels of other types are multiplied as f32 too.
static void fill_f32(KernelTable& table) {
  table.gemm[kF32][kComputeF32] = gemm<F32Dot>;
  table.decode_row[kF32] = decode_row<F32Dot>;
}

}  // namespace verdant::VERDANT_ISA
