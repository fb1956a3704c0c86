// How pages of keys and values are read, by the dtype of the cache (layouts: ops/kv_write.h). Every load gives exact
// floats, so that reading a page as it lies and converting it first have the same bits.
#include "ops/attention.h"
#include "ops/kv_write.h"

namespace verdant::VERDANT_ISA {

constexpr int kPageVecs = kPage / 16;
static_assert(kPageVecs == 2);

// Keys 0 .. 15 or 16 .. 31 of a page at one column; kRow bytes from column to column.
struct F32Keys {
  static constexpr int64_t kRow = 4 * kPage;
  template <int kHalf>
  static inline Vec load(const uint8_t* row) {
    return VERDANT_ISA::load((const float*)row + 16 * kHalf);
  }
};
struct Bf16Keys {
  static constexpr int64_t kRow = 2 * kPage;
  template <int kHalf>
  static inline Vec load(const uint8_t* row) {
    return kHalf == 0 ? pair_even(row) : pair_odd(row);
  }
};
struct Int8Keys {
  static constexpr int64_t kRow = kPage;
  template <int kHalf>
  static inline Vec load(const uint8_t* row) {
    return load_s8(row + 16 * kHalf);
  }
};

// 16 columns of a value, of which `lanes` exist where kTail. kOdd: parity of its slot; `at` gives the byte offset of a
// slot and column, `stride` the columns of a slot. kOddLines: 0 where odd slots lie in the lines of even ones.
struct F32Values {
  static constexpr int kOddLines = 1;
  static constexpr int64_t at(int64_t slot, int64_t stride, int64_t column) { return 4 * (slot * stride + column); }
  template <int kOdd, bool kTail>
  static inline Vec load(const uint8_t* p, int64_t lanes) {
    return kTail ? load_n((const float*)p, lanes) : VERDANT_ISA::load((const float*)p);
  }
};
struct Bf16Values {
  static constexpr int kOddLines = 0;
  static constexpr int64_t at(int64_t slot, int64_t stride, int64_t column) { return 4 * (slot / 2 * stride + column); }
  template <int kOdd, bool kTail>
  static inline Vec load(const uint8_t* p, int64_t lanes) {
    if constexpr (kTail) {
      alignas(64) float line[16];
      store(line, load_n((const float*)p, lanes));
      return kOdd ? pair_odd((const uint8_t*)line) : pair_even((const uint8_t*)line);
    }
    return kOdd ? pair_odd(p) : pair_even(p);
  }
};
struct Int8Values {
  static constexpr int kOddLines = 1;
  static constexpr int64_t at(int64_t slot, int64_t stride, int64_t column) { return slot * stride + column; }
  // The scales follow the values: 16 bytes are always there.
  template <int kOdd, bool kTail>
  static inline Vec load(const uint8_t* p, int64_t) {
    return load_s8(p);
  }
};

// A page of keys as F32Keys.
template <class Keys>
static void convert_keys(const uint8_t* page, int64_t head_dim, float* out) {
  for (int64_t d = 0; d < head_dim; d++) {
    store(out + d * kPage, Keys::template load<0>(page + d * Keys::kRow));
    store(out + d * kPage + 16, Keys::template load<1>(page + d * Keys::kRow));
  }
}

// Columns from .. from + count - 1 of a page of values to (page, stride) f32.
template <class Values>
static void convert_values(const uint8_t* page, int64_t head_dim, int64_t from, int64_t count, float* out,
                           int64_t stride) {
  for (int64_t slot = 0; slot < kPage; slot += 2) {
    for (int64_t c = 0; c < count; c += 16) {
      const uint8_t *even = page + Values::at(slot, head_dim, from + c),
                    *odd = page + Values::at(slot + 1, head_dim, from + c);
      float* y = out + slot * stride + c;
      if (count - c >= 16) {
        store(y, Values::template load<0, false>(even, 16));
        store(y + stride, Values::template load<1, false>(odd, 16));
      } else {
        store_n(y, Values::template load<0, true>(even, count - c), count - c);
        store_n(y + stride, Values::template load<1, true>(odd, count - c), count - c);
      }
    }
  }
}

}  // namespace verdant::VERDANT_ISA
