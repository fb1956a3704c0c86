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

// Words of q as lines [word][16 rows]: the order of nibbles that the file has is the kernel's. `flip` changes bits.
void place_words(const uint8_t* q, int64_t words, uint32_t flip, int64_t lane, uint8_t* lines) {
  for (int64_t w = 0; w < words; w++) {
    uint32_t word;
    std::memcpy(&word, q + 4 * w, 4);
    word ^= flip;
    std::memcpy(lines + w * kLine + 4 * lane, &word, 4);
  }
}

// Codes of a section of kCount weights: kLow (2 or 4) bits in kCount kLow / 32 lines, then kHigh (0 to 2) more bits.
// Group g is weights 4 g to 4 g + 3, one byte each of a row's word: its low bits at kLow (g / lines) of line g % lines,
// one high bit at g % 8 of line g / 8, two at 2 (g / 4) of line g % 4.
template <int kCount, int kLow, int kHigh>
void place_codes(const uint8_t* codes, int64_t lane, uint8_t* lines) {
  constexpr int kLines = kCount * kLow / 32;
  uint8_t* high = lines + kLines * kLine;
  for (int e = 0; e < kCount; e++) {
    const int g = e / 4, code = codes[e];
    const int64_t at = 4 * lane + e % 4;
    lines[g % kLines * kLine + at] |= static_cast<uint8_t>((code & ((1 << kLow) - 1)) << (g / kLines * kLow));
    if (kHigh == 1) high[g / 8 * kLine + at] |= static_cast<uint8_t>(code >> kLow << (g % 8));
    if (kHigh == 2) high[g % 4 * kLine + at] |= static_cast<uint8_t>(code >> kLow << (g / 4 * 2));
  }
}
template <int kLow, int kHigh>
void place_sections(const uint8_t* codes, int64_t lane, uint8_t* block) {
  constexpr int64_t kSection = 64 * (kLow + kHigh) / 32 * kLine;
  for (int c = 0; c < 4; c++) place_codes<64, kLow, kHigh>(codes + 64 * c, lane, block + c * kSection);
}

void put_half(const F16Block& h, int64_t lane, uint8_t* halves) { std::memcpy(halves + 2 * lane, &h, 2); }

// For each type: bytes of a block of a panel, and one row of it placed.
struct PackQ8_0 {
  using Block = Q8_0Block;
  static constexpr int64_t kBytes = 8 * kLine + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    place_words(reinterpret_cast<const uint8_t*>(b.q), 8, 0x80808080u, lane, out);
    put_half(b.d, lane, out + 8 * kLine);
  }
};
template <class B>  // q4_0, iq4_nl
struct PackNibbles {
  using Block = B;
  static constexpr int64_t kBytes = 4 * kLine + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    place_words(b.q, 4, 0, lane, out);
    put_half(b.d, lane, out + 4 * kLine);
  }
};
struct PackQ4_1 {
  using Block = Q4_1Block;
  static constexpr int64_t kBytes = 4 * kLine + 64;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    place_words(b.q, 4, 0, lane, out);
    put_half(b.d, lane, out + 4 * kLine);
    put_half(b.m, lane, out + 4 * kLine + 32);
  }
};
template <class B>
void place_q5(const B& b, int64_t lane, uint8_t* out) {
  uint8_t codes[32];
  for (int i = 0; i < 32; i++) codes[i] = static_cast<uint8_t>(q5_code(b.high, b.q, i));
  place_codes<32, 4, 1>(codes, lane, out);
  put_half(b.d, lane, out + 5 * kLine);
}
struct PackQ5_0 {
  using Block = Q5_0Block;
  static constexpr int64_t kBytes = 5 * kLine + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) { place_q5(b, lane, out); }
};
struct PackQ5_1 {
  using Block = Q5_1Block;
  static constexpr int64_t kBytes = 5 * kLine + 64;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    place_q5(b, lane, out);
    put_half(b.m, lane, out + 5 * kLine + 32);
  }
};

struct PackQ2_K {
  using Block = Q2_KBlock;
  static constexpr int64_t kScales = 16 * kLine, kBytes = kScales + 16 * 16 + 64;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    uint8_t codes[256];
    for (int e = 0; e < 256; e++) codes[e] = b.q[e / 128 * 32 + e % 32] >> (e / 32 % 4 * 2) & 3;
    place_sections<2, 0>(codes, lane, out);
    for (int i = 0; i < 16; i++) out[kScales + 16 * i + lane] = b.scale[i];
    put_half(b.d, lane, out + kScales + 256);
    put_half(b.dmin, lane, out + kScales + 288);
  }
};
struct PackQ3_K {
  using Block = Q3_KBlock;
  static constexpr int64_t kScales = 24 * kLine, kBytes = kScales + 16 * 16 + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    uint8_t codes[256];
    for (int e = 0; e < 256; e++) {
      const int c = e / 128, j = e / 32 % 4, l = e % 32;
      codes[e] = static_cast<uint8_t>((b.low[32 * c + l] >> (2 * j) & 3) | (b.high[l] >> (4 * c + j) & 1) << 2);
    }
    place_sections<2, 1>(codes, lane, out);
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
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    place_words(b.q, 32, 0, lane, out);
    place_k_scales(b, lane, out + kScales);
  }
};
struct PackQ5_K {
  using Block = Q5_KBlock;
  static constexpr int64_t kScales = 40 * kLine, kBytes = kScales + 16 * 16 + 64;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    uint8_t codes[256];
    for (int e = 0; e < 256; e++) {
      const int i = e / 32, l = e % 32;
      codes[e] = static_cast<uint8_t>((b.q[i / 2 * 32 + l] >> (i % 2 * 4) & 15) | (b.high[l] >> i & 1) << 4);
    }
    place_sections<4, 1>(codes, lane, out);
    place_k_scales(b, lane, out + kScales);
  }
};
struct PackQ6_K {
  using Block = Q6_KBlock;
  static constexpr int64_t kScales = 48 * kLine, kBytes = kScales + 16 * 16 + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    uint8_t codes[256];
    for (int e = 0; e < 256; e++) {
      const int c = e / 128, j = e / 32 % 4, l = e % 32;
      codes[e] = static_cast<uint8_t>((b.low[64 * c + 32 * (j % 2) + l] >> (j / 2 * 4) & 15) |
                                      (b.high[32 * c + l] >> (2 * j) & 3) << 4);
    }
    place_sections<4, 2>(codes, lane, out);
    for (int i = 0; i < 16; i++) out[kScales + 16 * i + lane] = static_cast<uint8_t>(b.scale[i]);
    put_half(b.d, lane, out + kScales + 256);
  }
};
struct PackIQ4_XS {
  using Block = IQ4_XSBlock;
  static constexpr int64_t kScales = 32 * kLine, kBytes = kScales + 16 * 8 + 32;
  static void place(const Block& b, int64_t lane, uint8_t* out) {
    uint8_t codes[256];
    for (int e = 0; e < 256; e++) codes[e] = b.q[e / 32 * 16 + e % 16] >> (e / 16 % 2 * 4) & 15;
    place_sections<4, 0>(codes, lane, out);
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
      T::place(*reinterpret_cast<const Block*>(rows + lane * stride + b * static_cast<int64_t>(sizeof(Block))), lane,
               panel);
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
