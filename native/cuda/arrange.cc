#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/weight_types.h"
#include "cuda/units.h"
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

namespace verdant::cuda {
namespace {

// Pair q of a set, the first code in the low half of `pair` and the second in the high one, into the words of the set.
template <int kBits>
void put_pair(uint32_t* set, int q, uint32_t pair) {
  using Set = CodeSet<kBits>;
  if (q < Set::kDirect) {
    set[q / Set::kFields] |= pair << (kBits * (q % Set::kFields));
  } else if (kBits == 6) {
    set[q - Set::kDirect] |= (pair & 0x000f000f) << 12;
    set[2] |= (pair >> 4 & 0x00030003) << (12 + 2 * (q - Set::kDirect));
  } else {
    for (int n = 0; n < Set::kWords; n++) set[n] |= (pair >> n & 0x00010001) << 15;
  }
}

// Codes of a unit, a byte each in order of the columns.
template <DType kType>
void put_codes(const uint8_t* codes, uint8_t* to) {
  constexpr int kBits = code_bits(kType), kGroups = unit_layout(kType).cols / 32;
  using Set = CodeSet<kBits>;
  constexpr int kSets = kGroups / Set::kGroups;
  for (int s = 0; s < kSets; s++)
    for (int t = 0; t < 4; t++) {
      uint32_t set[Set::kWords] = {};
#pragma GCC unroll 16
      for (int q = 0; q < Set::kPairs; q += 2) {  // pairs q and q + 1 are neighbours
        uint32_t four;
        std::memcpy(&four, codes + 32 * (Set::kGroups * s + q / 4) + pair_column(t, q % 4), sizeof four);
        put_pair<kBits>(set, q, (four & 0xff) | (four & 0xff00) << 8);
        put_pair<kBits>(set, q + 1, (four >> 16 & 0xff) | (four >> 8 & 0xff0000));
      }
      for (int n = 0; n < Set::kWords; n++) {
        const uint32_t word = std::rotl(set[n], turned_by(kType));
        std::memcpy(to + word_place(kSets * Set::kWords, t, s * Set::kWords + n), &word, sizeof word);
      }
    }
}

// The codes of a block, not below 0.
void codes_of(const Q8_0Block& b, uint8_t* to) {
  for (int e = 0; e < 32; e++) to[e] = static_cast<uint8_t>(b.q[e] ^ 0x80);
}
void nibbles_of(const uint8_t* q, int count, uint8_t* to) {
  for (int e = 0; e < count; e++) {
    to[e] = q[e] & 15;
    to[count + e] = q[e] >> 4;
  }
}
// Bit n of high[e] is bit `place` of the code of element count n + e.
void bits_of(const uint8_t* high, int count, int fields, int place, uint8_t* to) {
  for (int n = 0; n < fields; n++)
    for (int e = 0; e < count; e++) to[count * n + e] |= static_cast<uint8_t>((high[e] >> n & 1) << place);
}
// As fields of two bits.
void quarters_of(const uint8_t* q, int place, uint8_t* to) {
  for (int n = 0; n < 4; n++)
    for (int e = 0; e < 32; e++) to[32 * n + e] |= static_cast<uint8_t>((q[e] >> (2 * n) & 3) << place);
}

void codes_of(const Q4_0Block& b, uint8_t* to) { nibbles_of(b.q, 16, to); }
void codes_of(const Q4_1Block& b, uint8_t* to) { nibbles_of(b.q, 16, to); }
void codes_of(const IQ4_NLBlock& b, uint8_t* to) { nibbles_of(b.q, 16, to); }
template <class Block>
void five_bits_of(const Block& b, uint8_t* to) {
  nibbles_of(b.q, 16, to);
  for (int e = 0; e < 32; e++) to[e] |= static_cast<uint8_t>((b.high[e / 8] >> (e % 8) & 1) << 4);
}
void codes_of(const Q5_0Block& b, uint8_t* to) { five_bits_of(b, to); }
void codes_of(const Q5_1Block& b, uint8_t* to) { five_bits_of(b, to); }
void codes_of(const IQ4_XSBlock& b, uint8_t* to) {
  for (int i = 0; i < 8; i++) nibbles_of(b.q + 16 * i, 16, to + 32 * i);
}
void codes_of(const Q4_KBlock& b, uint8_t* to) {
  for (int c = 0; c < 4; c++) nibbles_of(b.q + 32 * c, 32, to + 64 * c);
}
void codes_of(const Q5_KBlock& b, uint8_t* to) {
  for (int c = 0; c < 4; c++) nibbles_of(b.q + 32 * c, 32, to + 64 * c);
  bits_of(b.high, 32, 8, 4, to);
}
void codes_of(const Q2_KBlock& b, uint8_t* to) {
  std::memset(to, 0, 256);
  for (int c = 0; c < 2; c++) quarters_of(b.q + 32 * c, 0, to + 128 * c);
}
void codes_of(const Q3_KBlock& b, uint8_t* to) {
  std::memset(to, 0, 256);
  for (int c = 0; c < 2; c++) quarters_of(b.low + 32 * c, 0, to + 128 * c);
  bits_of(b.high, 32, 8, 2, to);
}
void codes_of(const Q6_KBlock& b, uint8_t* to) {
  for (int c = 0; c < 2; c++) {
    nibbles_of(b.low + 64 * c, 64, to + 128 * c);
    quarters_of(b.high + 32 * c, 4, to + 128 * c);
  }
}

// The fields of a unit.
using Fields = uint8_t* const (&)[kMaxFields];

// The first kBytes of each block, one after the other: scales, or scales and minima.
template <int kBytes, class Block>
void put_scales(const Block* b, int count, Fields to) {
  for (int i = 0; i < count; i++) std::memcpy(to[0] + kBytes * i, &b[i], kBytes);
}

// Signed scales as bytes that begin at 128, and the scale of all.
template <int kCount, class Scale>
void put_byte_scales(const F16Block& d, Fields to, const Scale& scale) {
  for (int i = 0; i < kCount; i++) to[0][i] = static_cast<uint8_t>(scale(i) + 128);
  std::memcpy(to[2], &d, sizeof d);
}

void put_head(const Q8_0Block* b, int count, Fields to) { put_scales<2>(b, count, to); }
void put_head(const Q4_0Block* b, int count, Fields to) { put_scales<2>(b, count, to); }
void put_head(const Q5_0Block* b, int count, Fields to) { put_scales<2>(b, count, to); }
void put_head(const IQ4_NLBlock* b, int count, Fields to) { put_scales<2>(b, count, to); }
void put_head(const Q4_1Block* b, int count, Fields to) { put_scales<4>(b, count, to); }
void put_head(const Q5_1Block* b, int count, Fields to) { put_scales<4>(b, count, to); }
void put_head(const Q4_KBlock* b, int, Fields to) { std::memcpy(to[0], b, 16); }
void put_head(const Q5_KBlock* b, int, Fields to) { std::memcpy(to[0], b, 16); }
void put_head(const Q2_KBlock* b, int, Fields to) {
  std::memcpy(to[0], b->scale, sizeof b->scale);
  std::memcpy(to[2], &b->d, sizeof b->d);
  std::memcpy(to[2] + 2, &b->dmin, sizeof b->dmin);
}
void put_head(const Q3_KBlock* b, int, Fields to) {
  put_byte_scales<16>(b->d, to, [&](int i) { return q3_k_scale(*b, i); });
}
void put_head(const Q6_KBlock* b, int, Fields to) {
  put_byte_scales<16>(b->d, to, [&](int i) { return b->scale[i]; });
}
void put_head(const IQ4_XSBlock* b, int, Fields to) {
  put_byte_scales<8>(b->d, to, [&](int i) { return iq4_xs_scale(*b, i); });
}

template <DType kType, class Block>
void arrange(const uint8_t* stored, int64_t cols, uint8_t* row) {
  constexpr UnitLayout kLayout = unit_layout(kType);
  constexpr int kBlocks = kLayout.cols / Block::kSize;
  const int64_t blocks = (cols + Block::kSize - 1) / Block::kSize, units = unit_count(kLayout, cols);
  for (int64_t u = 0; u < units; u++) {
    Block own[kBlocks];
    const int64_t count = std::min<int64_t>(kBlocks, blocks - u * kBlocks);
    std::memset(own, 0, sizeof own);
    std::memcpy(own, stored + u * static_cast<int64_t>(sizeof own), static_cast<size_t>(count) * sizeof(Block));
    uint8_t codes[kLayout.cols];
    for (int b = 0; b < kBlocks; b++) codes_of(own[b], codes + Block::kSize * b);
    uint8_t* to[kMaxFields];
    for (int f = 0; f < kMaxFields; f++) to[f] = row + field_offset(kLayout, f, units) + u * kLayout.bytes[f];
    put_head(own, kBlocks, to);
    put_codes<kType>(codes, to[1]);
  }
}

}  // namespace

void arrange_row(DType type, const uint8_t* stored, int64_t cols, uint8_t* row) {
  const size_t bytes = static_cast<size_t>(device_row_bytes(type, cols));
  if (!has_scales(type)) {
    const auto taken = static_cast<size_t>(row_bytes(type, cols));
    std::memcpy(row, stored, taken);
    std::memset(row + taken, 0, bytes - taken);
    return;
  }
  std::memset(row, 0, bytes);
  switch (type) {
    case kQ8_0:
      return arrange<kQ8_0, Q8_0Block>(stored, cols, row);
    case kQ4_0:
      return arrange<kQ4_0, Q4_0Block>(stored, cols, row);
    case kQ4_1:
      return arrange<kQ4_1, Q4_1Block>(stored, cols, row);
    case kQ5_0:
      return arrange<kQ5_0, Q5_0Block>(stored, cols, row);
    case kQ5_1:
      return arrange<kQ5_1, Q5_1Block>(stored, cols, row);
    case kQ2_K:
      return arrange<kQ2_K, Q2_KBlock>(stored, cols, row);
    case kQ3_K:
      return arrange<kQ3_K, Q3_KBlock>(stored, cols, row);
    case kQ4_K:
      return arrange<kQ4_K, Q4_KBlock>(stored, cols, row);
    case kQ5_K:
      return arrange<kQ5_K, Q5_KBlock>(stored, cols, row);
    case kQ6_K:
      return arrange<kQ6_K, Q6_KBlock>(stored, cols, row);
    case kIQ4_NL:
      return arrange<kIQ4_NL, IQ4_NLBlock>(stored, cols, row);
    case kIQ4_XS:
      return arrange<kIQ4_XS, IQ4_XSBlock>(stored, cols, row);
    default:
      throw Error("ERR_UNSUPPORTED", "a matrix of this type has no place on a CUDA device");
  }
}

}  // namespace verdant::cuda
