#include "cpu/pack_blocks.h"

#include <cstring>

#include "weights/iq4_xs.h"
#include "weights/q2_k.h"
#include "weights/q3_k.h"
#include "weights/q4_0.h"
#include "weights/q4_1.h"
#include "weights/q5_1.h"
#include "weights/q5_k.h"
#include "weights/q6_k.h"
#include "weights/q8_0.h"

namespace verdant {
namespace {

constexpr int64_t kLine = 64;  // 4 bytes of each row
constexpr uint32_t kNibbles = 0x0f0f0f0f, kPairs = 0x03030303;

// Four consecutive weights of a row are a word; every shift below stays inside its bytes.
template <int kCount>
struct Words {
  uint32_t v[kCount];
};
template <int kCount>
Words<kCount> words_at(const void* bytes) {
  Words<kCount> w;
  std::memcpy(w.v, bytes, sizeof(w));
  return w;
}

// Words of q as lines [word][16 rows]: the order of nibbles that the file has is the kernel's. `flip` changes bits.
template <int kCount, uint32_t kFlip = 0>
void place_bytes(const void* q, int64_t lane, uint8_t* lines) {
  for (int w = 0; w < kCount; w++) {
    uint32_t word;
    std::memcpy(&word, static_cast<const uint8_t*>(q) + 4 * w, 4);
    word ^= kFlip;
    std::memcpy(lines + w * kLine + 4 * lane, &word, 4);
  }
}
template <int kCount>
void place(const Words<kCount>& words, int64_t lane, uint8_t* lines) {
  place_bytes<kCount>(words.v, lane, lines);
}

// A section is 32 or 64 weights; group g is its weights 4 g to 4 g + 3. Nibbles lie at 4 (g / lines) of line g % lines,
// then, or instead, two bits at 2 (g / 4) of line g % 4, or one bit at g % 8 of line g / 8.

// Nibbles of a beside those of b: the low ones of both to `low`, the high ones to `high`.
template <int kCount>
void pair_nibbles(const uint8_t* a, const uint8_t* b, uint32_t* low, uint32_t* high) {
  const Words<kCount> x = words_at<kCount>(a), y = words_at<kCount>(b);
  for (int w = 0; w < kCount; w++) {
    low[w] = (x.v[w] & kNibbles) | (y.v[w] & kNibbles) << 4;
    high[w] = (x.v[w] >> 4 & kNibbles) | (y.v[w] & kNibbles << 4);
  }
}

// Two bits of 128 weights, weight 32 j + l at 2 j of q[l], as two sections of four words.
struct PairLines {
  Words<4> section[2];
};
PairLines pair_lines(const uint8_t* q) {
  const Words<8> x = words_at<8>(q);
  PairLines out;
  for (int w = 0; w < 4; w++) {
    const uint32_t a = x.v[w], b = x.v[w + 4];
    out.section[0].v[w] = (a & kPairs) | (b & kPairs) << 2 | (a & kPairs << 2) << 2 | (b & kPairs << 2) << 4;
    out.section[1].v[w] = (a >> 4 & kPairs) | (b >> 4 & kPairs) << 2 | (a >> 2 & kPairs << 4) | (b & kPairs << 6);
  }
  return out;
}

// One bit of 256 weights, weight 32 i + l at i of high[l], as two words for each of four sections: per byte of a word,
// the transpose of 8 words of 8 bits.
template <int kStep, uint32_t kMask>
void swap_bits(Words<8>& x) {
  for (int w = 0; w < 8; w++) {
    if ((w & kStep) != 0) continue;
    const uint32_t t = (x.v[w] >> kStep ^ x.v[w + kStep]) & kMask;
    x.v[w] ^= t << kStep;
    x.v[w + kStep] ^= t;
  }
}
Words<8> bit_lines(const uint8_t* high) {
  Words<8> x = words_at<8>(high);
  swap_bits<4, kNibbles>(x);
  swap_bits<2, 0x33333333>(x);
  swap_bits<1, 0x55555555>(x);
  return x;
}

// Bit 4 g + e, e < 4, of the word to bit g of byte e: the even bits to the low half and the odd to the high, twice.
uint32_t bit_line(const uint8_t* high) {
  uint32_t x = static_cast<uint32_t>(high[0] | high[1] << 8 | high[2] << 16) | static_cast<uint32_t>(high[3]) << 24;
  for (int twice = 0; twice < 2; twice++) {
    uint32_t t = (x ^ x >> 1) & 0x22222222;
    x ^= t ^ t << 1;
    t = (x ^ x >> 2) & 0x0c0c0c0c;
    x ^= t ^ t << 2;
    t = (x ^ x >> 4) & 0x00f000f0;
    x ^= t ^ t << 4;
    t = (x ^ x >> 8) & 0x0000ff00;
    x ^= t ^ t << 8;
  }
  return x;
}

void put_half(const F16Block& h, int64_t lane, uint8_t* halves) { std::memcpy(halves + 2 * lane, &h, 2); }

// For each type: bytes of a block of a panel, and one row of it placed.
struct PackQ8_0 {
  using Block = Q8_0Block;
  static constexpr int64_t kBytes = 8 * kLine + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    place_bytes<8, 0x80808080>(b.q, lane, out);
    put_half(b.d, lane, out + 8 * kLine);
  }
};
template <class B>  // q4_0, iq4_nl
struct PackNibbles {
  using Block = B;
  static constexpr int64_t kBytes = 4 * kLine + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    place_bytes<4>(b.q, lane, out);
    put_half(b.d, lane, out + 4 * kLine);
  }
};
struct PackQ4_1 {
  using Block = Q4_1Block;
  static constexpr int64_t kBytes = 4 * kLine + 64;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    place_bytes<4>(b.q, lane, out);
    put_half(b.d, lane, out + 4 * kLine);
    put_half(b.m, lane, out + 4 * kLine + 32);
  }
};
template <class B>
void place_q5(const B& b, int64_t lane, uint8_t* out) {
  place_bytes<4>(b.q, lane, out);
  place(Words<1>{{bit_line(b.high)}}, lane, out + 4 * kLine);
  put_half(b.d, lane, out + 5 * kLine);
}
struct PackQ5_0 {
  using Block = Q5_0Block;
  static constexpr int64_t kBytes = 5 * kLine + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) { place_q5(b, lane, out); }
};
struct PackQ5_1 {
  using Block = Q5_1Block;
  static constexpr int64_t kBytes = 5 * kLine + 64;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    place_q5(b, lane, out);
    put_half(b.m, lane, out + 5 * kLine + 32);
  }
};

struct PackQ2_K {
  using Block = Q2_KBlock;
  static constexpr int64_t kSection = 4 * kLine, kScales = 4 * kSection, kBytes = kScales + 16 * 16 + 64;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    for (int c = 0; c < 2; c++) {
      const PairLines pairs = pair_lines(b.q + 32 * c);
      for (int s = 0; s < 2; s++) place(pairs.section[s], lane, out + (2 * c + s) * kSection);
    }
    for (int i = 0; i < 16; i++) out[kScales + 16 * i + lane] = b.scale[i];
    put_half(b.d, lane, out + kScales + 256);
    put_half(b.dmin, lane, out + kScales + 288);
  }
};
struct PackQ3_K {
  using Block = Q3_KBlock;
  static constexpr int64_t kSection = 6 * kLine, kScales = 4 * kSection, kBytes = kScales + 16 * 16 + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    const Words<8> bits = bit_lines(b.high);
    for (int c = 0; c < 2; c++) {
      const PairLines pairs = pair_lines(b.low + 32 * c);
      for (int s = 0; s < 2; s++) {
        uint8_t* section = out + (2 * c + s) * kSection;
        place(pairs.section[s], lane, section);
        place_bytes<2>(bits.v + 4 * c + 2 * s, lane, section + 4 * kLine);
      }
    }
    for (int i = 0; i < 16; i++) out[kScales + 16 * i + lane] = static_cast<uint8_t>(q3_k_scale(b, i));
    put_half(b.d, lane, out + kScales + 256);
  }
};
template <class B>
void place_k_scales(const B& b, int64_t lane, uint8_t* scales) {
  for (int i = 0; i < 8; i++) {
    const ScaleMin v = k_scale_min(b.scale, i);
    scales[16 * i + lane] = static_cast<uint8_t>(v.s);
    scales[128 + 16 * i + lane] = static_cast<uint8_t>(v.m);
  }
  put_half(b.d, lane, scales + 256);
  put_half(b.dmin, lane, scales + 288);
}
struct PackQ4_K {
  using Block = Q4_KBlock;
  static constexpr int64_t kScales = 32 * kLine, kBytes = kScales + 16 * 16 + 64;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    place_bytes<32>(b.q, lane, out);
    place_k_scales(b, lane, out + kScales);
  }
};
struct PackQ5_K {
  using Block = Q5_KBlock;
  static constexpr int64_t kSection = 10 * kLine, kScales = 4 * kSection, kBytes = kScales + 16 * 16 + 64;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    const Words<8> bits = bit_lines(b.high);
    for (int c = 0; c < 4; c++) {
      place_bytes<8>(b.q + 32 * c, lane, out + c * kSection);
      place_bytes<2>(bits.v + 2 * c, lane, out + c * kSection + 8 * kLine);
    }
    place_k_scales(b, lane, out + kScales);
  }
};
struct PackQ6_K {
  using Block = Q6_KBlock;
  static constexpr int64_t kSection = 12 * kLine, kScales = 4 * kSection, kBytes = kScales + 16 * 16 + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    for (int c = 0; c < 2; c++) {
      Words<8> nibbles[2];
      pair_nibbles<8>(b.low + 64 * c, b.low + 64 * c + 32, nibbles[0].v, nibbles[1].v);
      const PairLines pairs = pair_lines(b.high + 32 * c);
      for (int s = 0; s < 2; s++) {
        uint8_t* section = out + (2 * c + s) * kSection;
        place(nibbles[s], lane, section);
        place(pairs.section[s], lane, section + 8 * kLine);
      }
    }
    for (int i = 0; i < 16; i++) out[kScales + 16 * i + lane] = static_cast<uint8_t>(b.scale[i]);
    put_half(b.d, lane, out + kScales + 256);
  }
};
struct PackIQ4_XS {
  using Block = IQ4_XSBlock;
  static constexpr int64_t kSection = 8 * kLine, kScales = 4 * kSection, kBytes = kScales + 16 * 8 + 32;
  static void place_row(const Block& b, int64_t lane, uint8_t* out) {
    for (int c = 0; c < 4; c++) {
      Words<8> words;
      pair_nibbles<4>(b.q + 32 * c, b.q + 32 * c + 16, words.v, words.v + 4);
      place(words, lane, out + c * kSection);
    }
    for (int i = 0; i < 8; i++) out[kScales + 16 * i + lane] = static_cast<uint8_t>(iq4_xs_scale(b, i));
    put_half(b.d, lane, out + kScales + 128);
  }
};

// Missing rows stay zero bytes: whatever they give is never stored.
template <class T>
void pack_blocks(const uint8_t* rows, int64_t stride, int64_t count, int64_t cols, uint8_t* panel) {
  using Block = typename T::Block;
  for (int64_t b = 0; b < cols / Block::kSize; b++, panel += T::kBytes)
    for (int64_t lane = 0; lane < count; lane++)
      T::place_row(*reinterpret_cast<const Block*>(rows + lane * stride + b * static_cast<int64_t>(sizeof(Block))),
                   lane, panel);
}
template <class T>
constexpr PanelType panel_of = {pack_blocks<T>, T::Block::kSize, T::kBytes};

}  // namespace

PanelType block_panel_type(DType dtype) {
  switch (dtype) {
    case kQ8_0:
      return panel_of<PackQ8_0>;
    case kQ4_0:
      return panel_of<PackNibbles<Q4_0Block>>;
    case kQ4_1:
      return panel_of<PackQ4_1>;
    case kQ5_0:
      return panel_of<PackQ5_0>;
    case kQ5_1:
      return panel_of<PackQ5_1>;
    case kIQ4_NL:
      return panel_of<PackNibbles<IQ4_NLBlock>>;
    case kQ2_K:
      return panel_of<PackQ2_K>;
    case kQ3_K:
      return panel_of<PackQ3_K>;
    case kQ4_K:
      return panel_of<PackQ4_K>;
    case kQ5_K:
      return panel_of<PackQ5_K>;
    case kQ6_K:
      return panel_of<PackQ6_K>;
    case kIQ4_XS:
      return panel_of<PackIQ4_XS>;
    default:
      return {nullptr, 0, 0};
  }
}

}  // namespace verdant
