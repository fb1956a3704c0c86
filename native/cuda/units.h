// How rows of weights lie in device memory.
#pragma once
#include "core/op.h"

namespace verdant::cuda {

constexpr int32_t kMaxFields = 3;

// A row is units of `cols` weights, the last one filled up with zeros. A unit has fields of so many bytes (0: none);
// field f of all units of a row stands before field f + 1 of all, and each begins at a multiple of 16 bytes.
//   Types of blocks: scales first, then codes (`CodeSet`).
struct UnitLayout {
  int32_t cols;
  int32_t bytes[kMaxFields];
};

constexpr UnitLayout unit_layout(DType type) {
  switch (type) {
    case kF32:
      return {1, {4}};
    case kF16:
      return {1, {2}};
    case kBF16:
      return {32, {64}};
    case kQ8_0:
      return {64, {4, 64}};
    case kQ4_0:
      return {128, {8, 64}};
    case kQ4_1:
      return {128, {16, 64}};
    case kQ5_0:
      return {128, {8, 80}};
    case kQ5_1:
      return {128, {16, 80}};
    case kQ2_K:
      return {256, {16, 64, 4}};
    case kQ3_K:
      return {256, {16, 96, 2}};
    case kQ4_K:
      return {256, {16, 128}};
    case kQ5_K:
      return {256, {16, 160}};
    case kQ6_K:
      return {256, {16, 192, 2}};
    case kIQ4_NL:
      return {128, {8, 64}};
    case kIQ4_XS:
      return {256, {8, 128, 2}};
    default:
      return {0, {}};
  }
}

// Bits of a code; 0: the type has no codes.
constexpr int code_bits(DType type) {
  switch (type) {
    case kQ2_K:
      return 2;
    case kQ3_K:
      return 3;
    case kQ4_0:
    case kQ4_1:
    case kQ4_K:
    case kIQ4_NL:
    case kIQ4_XS:
      return 4;
    case kQ5_0:
    case kQ5_1:
    case kQ5_K:
      return 5;
    case kQ6_K:
      return 6;
    case kQ8_0:
      return 8;
    default:
      return 0;
  }
}

// Whether weights share scales.
constexpr bool has_scales(DType type) { return type != kF32 && type != kF16 && type != kBF16; }

constexpr int64_t unit_count(const UnitLayout& layout, int64_t cols) { return (cols + layout.cols - 1) / layout.cols; }

// Where field f of a row of so many units begins.
template <class Int>
constexpr Int field_offset(const UnitLayout& layout, int32_t f, Int units) {
  Int at = 0;
  for (int32_t i = 0; i < f; i++) at += (layout.bytes[i] * units + 15) / 16 * 16;
  return at;
}

// Bytes of a row of `cols` weights; 0 columns for a type that has no place here.
constexpr int64_t device_row_bytes(DType type, int64_t cols) {
  const UnitLayout layout = unit_layout(type);
  return field_offset(layout, kMaxFields, unit_count(layout, cols));
}

// The four lanes t of a row share each group of 32 weights: lane t has 4 t .. 4 t + 3 and 16 + 4 t .. 16 + 4 t + 3, as
// four pairs k. This is the first column of a pair within its group.
constexpr int pair_column(int t, int k) { return k / 2 * 16 + 4 * t + k % 2 * 2; }

// 2^bits + code is a bf16 whose highest mantissa bits are the code, from bit 7 - bits on: words of such codes are
// turned left by so many bits, which brings their first fields there. Not so codes of eight bits and places in a table.
constexpr int code_begin(int bits) { return 7 - bits; }
constexpr int turned_by(DType type) {
  return type == kQ8_0 || type == kIQ4_NL || type == kIQ4_XS ? 0 : code_begin(code_bits(type));
}

// Codes of kBits bits lie in sets of kWords words that a lane has of kGroups groups. Each half of a word, of 16 bits,
// has kFields codes and some bits left: the low half of the first weights of pairs, the high half of the second ones.
// Pair number q of a set (4 a group) is field q % kFields of word q / kFields; the codes of the last pairs are made of
// the bits that are left, those of a code from the first word on, but of six bits the third word gives two each.
template <int kBits>
struct CodeSet {
  static constexpr int kFields = 16 / kBits;
  static constexpr int kWords = kBits == 8 ? 2 : kBits == 6 ? 3 : kBits % 2 == 0 ? 1 : kBits;
  static constexpr int kPairs = kWords * 16 / kBits, kGroups = kPairs / 4;
  static constexpr int kDirect = kWords * kFields;  // pairs that are fields
};
// Where word n of so many words of lane t lies in the codes of a unit: four words of a lane lie together.
constexpr int word_place(int words, int t, int n) {
  const int fours = words / 4, rest = words % 4;
  return n / 4 < fours ? n / 4 * 64 + 16 * t + n % 4 * 4 : fours * 64 + 4 * (rest * t + n % 4);
}

// Writes a row of `cols` weights, stored as the structs of weights/, as it lies in device memory.
void arrange_row(DType type, const uint8_t* stored, int64_t cols, uint8_t* row);

}  // namespace verdant::cuda
