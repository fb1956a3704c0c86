#include "core/weight_types.h"

#include <string>

#include "core/error.h"
#include "weights/bf16.h"
#include "weights/f16.h"
#include "weights/f32.h"
#include "weights/iq4_nl.h"
#include "weights/iq4_xs.h"
#include "weights/q2_k.h"
#include "weights/q3_k.h"
#include "weights/q4_0.h"
#include "weights/q4_1.h"
#include "weights/q4_k.h"
#include "weights/q5_0.h"
#include "weights/q5_1.h"
#include "weights/q5_k.h"
#include "weights/q6_k.h"
#include "weights/q8_0.h"

namespace verdant {
namespace {

template <class Block, float (*kDecode)(const Block&), void (*kEncode)(float, Block&)>
constexpr WeightType single(const char* name) {
  static_assert(alignof(Block) == 1);
  return {name, 1, sizeof(Block),
          [](const uint8_t* in, int64_t count, float* out) {
            const Block* b = reinterpret_cast<const Block*>(in);
            for (int64_t i = 0; i < count; i++) out[i] = kDecode(b[i]);
          },
          [](const float* in, int64_t count, uint8_t* out) {
            Block* b = reinterpret_cast<Block*>(out);
            for (int64_t i = 0; i < count; i++) kEncode(in[i], b[i]);
          }};
}
template <class Block, void (*kDecode)(const Block&, float*), void (*kEncode)(const float*, Block&)>
constexpr WeightType block(const char* name) {
  static_assert(alignof(Block) == 1);
  return {name, Block::kSize, sizeof(Block),
          [](const uint8_t* in, int64_t count, float* out) {
            const Block* b = reinterpret_cast<const Block*>(in);
            for (int64_t i = 0; i < count; i++) kDecode(b[i], out + i * Block::kSize);
          },
          [](const float* in, int64_t count, uint8_t* out) {
            Block* b = reinterpret_cast<Block*>(out);
            for (int64_t i = 0; i < count; i++) kEncode(in + i * Block::kSize, b[i]);
          }};
}

constexpr WeightType kTypes[] = {
    single<F32Block, decode_f32, encode_f32>("f32"),
    single<F16Block, decode_f16, encode_f16>("f16"),
    single<BF16Block, decode_bf16, encode_bf16>("bf16"),
    {"i32", 1, 4, nullptr, nullptr},
    {"u8", 1, 1, nullptr, nullptr},
    block<Q8_0Block, decode_q8_0, encode_q8_0>("q8_0"),
    block<Q4_0Block, decode_q4_0, encode_q4_0>("q4_0"),
    block<Q4_1Block, decode_q4_1, encode_q4_1>("q4_1"),
    block<Q5_0Block, decode_q5_0, encode_q5_0>("q5_0"),
    block<Q5_1Block, decode_q5_1, encode_q5_1>("q5_1"),
    block<Q2_KBlock, decode_q2_k, encode_q2_k>("q2_k"),
    block<Q3_KBlock, decode_q3_k, encode_q3_k>("q3_k"),
    block<Q4_KBlock, decode_q4_k, encode_q4_k>("q4_k"),
    block<Q5_KBlock, decode_q5_k, encode_q5_k>("q5_k"),
    block<Q6_KBlock, decode_q6_k, encode_q6_k>("q6_k"),
    block<IQ4_NLBlock, decode_iq4_nl, encode_iq4_nl>("iq4_nl"),
    block<IQ4_XSBlock, decode_iq4_xs, encode_iq4_xs>("iq4_xs"),
};
static_assert(sizeof(kTypes) / sizeof(WeightType) == kDTypeCount);

}  // namespace

const WeightType& weight_type(DType dtype) {
  if (dtype < 0 || dtype >= kDTypeCount || kTypes[dtype].decode == nullptr)
    throw Error("ERR_UNSUPPORTED", std::string("weights of type ") + dtype_name(dtype) + " cannot be packed");
  return kTypes[dtype];
}

const char* dtype_name(DType dtype) { return dtype >= 0 && dtype < kDTypeCount ? kTypes[dtype].name : "unknown"; }

int64_t row_bytes(DType dtype, int64_t cols) {
  const WeightType& t = kTypes[dtype];
  return (cols + t.block - 1) / t.block * t.bytes;
}

void decode_to_f32(DType dtype, const uint8_t* in, int64_t count, float* out) {
  const WeightType& t = weight_type(dtype);
  t.decode(in, count / t.block, out);
}

void encode_from_f32(DType dtype, const float* in, int64_t count, uint8_t* out) {
  const WeightType& t = weight_type(dtype);
  t.encode(in, count / t.block, out);
}

}  // namespace verdant
