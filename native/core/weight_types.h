// The list of weight types: how each is stored, decoded and encoded. Layouts are in weights/.
#pragma once
#include <cstdint>

#include "core/op.h"

namespace verdant {

// `block` weights in `bytes`. The types of ids and flags (i32, u8) have no coders.
struct WeightType {
  const char* name;
  int64_t block, bytes;
  void (*decode)(const uint8_t* in, int64_t blocks, float* out);
  void (*encode)(const float* in, int64_t blocks, uint8_t* out);
};

// Throws for what is not a type of weights.
const WeightType& weight_type(DType dtype);
const char* dtype_name(DType dtype);

// Bytes of one row of `cols` elements in its stored form.
int64_t row_bytes(DType dtype, int64_t cols);
// `count` elements in whole blocks.
void decode_to_f32(DType dtype, const uint8_t* in, int64_t count, float* out);
void encode_from_f32(DType dtype, const float* in, int64_t count, uint8_t* out);

}  // namespace verdant
