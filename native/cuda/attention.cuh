// What the kernels of attention share. A row's bits, whatever kernel and whatever neighbours:
//   s      fmaf chain over columns; q8: a chain per 32 columns, then times their scale, in order
//   chunk  m = max s, p = exp(s - m), l = sum of the pages' warp sums in order, o = sum of the pages' chains p v in
//   order merge  chunks left to right
// Keys with s = -inf add nothing: their values are not even multiplied.
#pragma once
#include "cuda/launch.cuh"
#include "cuda/numbers.cuh"
#include "ops/attention.h"
#include "ops/kv_write.h"

namespace verdant::cuda {

constexpr int kChunkPages = kKeyChunk / kPage;
constexpr int kAttentionThreads = kChunkPages * kWarp;
constexpr int kValueCols = 128;  // columns of values that are summed at once
static_assert(kPage == kWarp && kKvScaleCols == kWarp);

// Where keys and values lie. kTiles: in the bf16 pages of kv_cache.cuh, of a cache or in the workspace.
enum class KvForm { kRows, kF32, kBf16, kTiles, kQ8 };

struct AttentionArgs {
  const float* q;
  const uint8_t* k;
  const uint8_t* v;
  const int32_t* starts;
  const int32_t* key_starts;  // of rows
  const int32_t* table;
  const int32_t* positions;
  const float* bias;
  const uint8_t* mask;
  const float* slopes;
  const float* relative;
  const int32_t* places;
  const float* place_bias;
  float* y;
  float* stats;  // (rows, heads, 2): m and l of probs
  float* probs;
  int64_t rows;
  int64_t sequences;
  int64_t heads;
  int64_t kv_heads;
  int64_t group;  // heads / kv_heads
  int32_t head_dim;
  int64_t key_block;  // bytes from block to block
  int64_t value_block;
  int64_t key_head;  // bytes of a head's keys of a page
  int64_t value_head;
  int64_t layer_heads;  // heads of the layers before
  int64_t table_cols;
  int64_t key_cols;  // of bias and mask
  int64_t window;
  int64_t farthest;  // places apart that `relative` tells from further ones
  int64_t bias_places;
  int64_t prob_cols;
  float scale;
  float softcap;
  bool causal;
};

// Rows begin .. end - 1 of a sequence, which share a block; none where begin >= end.
struct RowTile {
  int64_t seq;
  int64_t begin;
  int64_t end;
};

// Rows of sequence s, which begin at starts[s], are cut every `size` rows; its tiles are numbered from
// starts[s] / size + s on, so that rows / size + sequences numbers are enough, a few of them unused.
static __device__ __forceinline__ RowTile row_tile(const int32_t* starts, int64_t sequences, int64_t size,
                                                   int64_t number) {
  int64_t low = 0, high = sequences;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (starts[middle] / size + middle <= number) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t begin = starts[low] + (number - starts[low] / size - low) * size, last = starts[low + 1];
  return {low, begin, begin + size < last ? begin + size : last};
}
static __device__ __forceinline__ RowTile row_tile(const AttentionArgs& a, int64_t size, int64_t number) {
  return row_tile(a.starts, a.sequences, size, number);
}

// The block that holds a page of a sequence: the table's, or where rows were laid in tiles (attention_rows.cuh) the
// page's number as row_tile counts.
static __device__ __forceinline__ int64_t page_block(const AttentionArgs& a, int64_t seq, int64_t page) {
  return a.table != nullptr ? a.table[seq * a.table_cols + page] : a.key_starts[seq] / kPage + seq + page;
}

// A query head of a row; it may see keys first .. end - 1 of its sequence.
struct Query {
  int64_t row;
  int32_t head;
  int32_t first;
  int32_t end;
  int32_t place;
};

// Query `index` of a tile: its row is begin + index / group, its head the kv head's index % group.
static __device__ __forceinline__ Query tile_query(const AttentionArgs& a, const RowTile& t, int64_t kv_head,
                                                   int64_t index) {
  const int64_t row = t.begin + index / a.group;
  int64_t place, end;
  if (a.positions != nullptr) {
    place = a.positions[row];
    end = place + 1;
  } else {
    const int64_t keys = a.key_starts[t.seq + 1] - a.key_starts[t.seq];
    place = a.causal ? row + keys - a.starts[t.seq + 1] : row - a.starts[t.seq];
    end = a.causal ? place + 1 : keys;
  }
  const int64_t first = a.window > 0 && place >= a.window ? place + 1 - a.window : 0;
  if (a.window > 0 && end > place + a.window) end = place + a.window;
  if (a.places != nullptr) place = a.places[row];
  return {row, static_cast<int32_t>(kv_head * a.group + index % a.group), static_cast<int32_t>(first),
          static_cast<int32_t>(end < first ? first : end), static_cast<int32_t>(place)};
}

// Keys begin .. end - 1.
struct KeyRange {
  int32_t begin;
  int32_t end;
};

// What any of `count` queries may see.
static __device__ __forceinline__ KeyRange seen_keys(const Query* queries, int count) {
  KeyRange r = {INT32_MAX, 0};
  for (int i = 0; i < count; i++) {
    if (queries[i].first >= queries[i].end) continue;
    r.begin = queries[i].first < r.begin ? queries[i].first : r.begin;
    r.end = queries[i].end > r.end ? queries[i].end : r.end;
  }
  return r;
}

// What depends on how far apart places are; -inf: out of the window.
static __device__ __forceinline__ float place_score(const AttentionArgs& a, const Query& q, int64_t seq, int64_t key) {
  const int64_t place = a.places != nullptr ? a.places[a.starts[seq] + key] : key, apart = place - q.place;
  if (a.places != nullptr && a.window > 0 && (apart >= a.window || -apart >= a.window)) return -INFINITY;
  const int64_t far = a.farthest, near = apart < -far ? -far : apart > far ? far : apart;
  float x = a.slopes != nullptr ? a.slopes[q.head] * static_cast<float>(apart) : 0.0f;
  if (a.relative != nullptr) x += a.relative[(near + far) * a.heads + q.head];
  if (a.place_bias != nullptr)
    x += a.place_bias[q.head * a.bias_places + (place < a.bias_places ? place : a.bias_places - 1)];
  return x;
}

// q k as a score: scaled, capped, biased; -inf where the key is not seen.
static __device__ __forceinline__ float finish_score(const AttentionArgs& a, const Query& q, int64_t seq, int64_t key,
                                                     float x) {
  if (key < q.first || key >= q.end) return -INFINITY;
  x *= a.scale;
  if (a.softcap > 0.0f) x = a.softcap * tanhf(x / a.softcap);
  if (a.mask != nullptr && (key >= a.key_cols || a.mask[q.row * a.key_cols + key] == 0)) return -INFINITY;
  if (a.bias != nullptr) x += a.bias[(q.head * a.rows + q.row) * a.key_cols + key];
  if (a.slopes == nullptr && a.relative == nullptr && a.places == nullptr && a.place_bias == nullptr) return x;
  return x + place_score(a, q, seq, key);
}

constexpr float kUnseen = -1.0f;  // in place of p: not multiplied

static __device__ __forceinline__ float weight_of(float s, float top) {
  return s == -INFINITY ? kUnseen : expf(s - top);
}
static __device__ __forceinline__ float add_weighted(float p, float v, float sum) {
  return p < 0.0f ? sum : fmaf(p, v, sum);
}

constexpr float kLn2 = 0.69314718055994530942f;

static __device__ __forceinline__ float power_of_two(float x) {
#if defined(VERDANT_EMULATED)
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// (m, l) of a query; l = 0: no key seen yet. y = keep y + take o when a chunk is taken in.
struct SoftmaxState {
  float m;
  float l;
};
struct Factors {
  float keep;
  float take;
};
// kLog2: m is in units of log2.
template <bool kLog2>
static __device__ __forceinline__ Factors merge_chunk(SoftmaxState& s, float m, float l) {
  if (l == 0.0f) return {1.0f, 0.0f};
  if (s.l == 0.0f) {
    s = {m, l};
    return {0.0f, 1.0f};
  }
  const float top = fmaxf(s.m, m);
  const Factors f =
      kLog2 ? Factors{power_of_two(s.m - top), power_of_two(m - top)} : Factors{expf(s.m - top), expf(m - top)};
  s = {top, fmaf(f.take, l, f.keep * s.l)};
  return f;
}
// o enters y. A first chunk does not look at y, a chunk without keys not at o.
static __device__ __forceinline__ float merge_value(float y, float o, const Factors& f) {
  return f.take == 0.0f && f.keep == 1.0f ? y : f.keep == 0.0f && f.take == 1.0f ? o : fmaf(o, f.take, y * f.keep);
}

// A page of one head: keys and values as they lie in memory. The key of a lane, and one column of a value.
template <KvForm kForm>
struct KvPage {
  const uint8_t* keys;
  const uint8_t* values;
  int32_t head_dim;
  int64_t stride;  // of rows, elements
  int last;        // of rows: the last slot that lies in memory

  // Page `page` of sequence `seq`; `end`: the keys that the sequence has at least.
  __device__ __forceinline__ KvPage(const AttentionArgs& a, int64_t seq, int64_t kv_head, int64_t page, int64_t end)
      : head_dim(a.head_dim) {
    if constexpr (kForm == KvForm::kRows) {
      stride = a.kv_heads * a.head_dim;
      const int64_t at = 4 * ((a.key_starts[seq] + page * kPage) * stride + kv_head * a.head_dim);
      keys = a.k + at;
      values = a.v + at;
      last = static_cast<int>(end - page * kPage < kPage ? end - page * kPage - 1 : kPage - 1);
    } else {
      const int64_t block = page_block(a, seq, page), head = a.layer_heads + kv_head;
      stride = 0;
      last = kPage - 1;
      keys = a.k + block * a.key_block + head * a.key_head;
      values = a.v + block * a.value_block + head * a.value_head;
    }
  }

  using Raw = std::conditional_t<kForm == KvForm::kBf16 || kForm == KvForm::kTiles, uint16_t,
                                 std::conditional_t<kForm == KvForm::kQ8, int8_t, float>>;

  // Column d of key `slot` as it is stored.
  __device__ __forceinline__ Raw raw_key(int slot, int d) const {
    if constexpr (kForm == KvForm::kRows)
      return reinterpret_cast<const float*>(keys)[(slot < last ? slot : last) * stride + d];
    if constexpr (kForm == KvForm::kBf16)
      return reinterpret_cast<const uint16_t*>(keys)[d * kPage + 2 * (slot % 16) + slot / 16];
    if constexpr (kForm == KvForm::kTiles) return reinterpret_cast<const uint16_t*>(keys)[slot * head_dim + d];
    return reinterpret_cast<const Raw*>(keys)[d * kPage + slot];
  }
  static __device__ __forceinline__ float decode(Raw x) {
    if constexpr (sizeof(Raw) == 2) {
      return bf16_value(x);
    } else {
      return static_cast<float>(x);
    }
  }
  __device__ __forceinline__ float key_scale(int slot, int group) const {
    return reinterpret_cast<const float*>(keys + head_dim * kPage)[group * kPage + slot];
  }
  __device__ __forceinline__ float value_scale(int slot) const {
    return reinterpret_cast<const float*>(values + head_dim * kPage)[slot];
  }

  // Column d of the values of slots 2 i and 2 i + 1, without their scales.
  __device__ __forceinline__ float2 value_pair(int i, int d) const {
    if constexpr (kForm == KvForm::kRows) {
      const float* v = reinterpret_cast<const float*>(values) + d;
      return make_float2(v[(2 * i < last ? 2 * i : last) * stride], v[(2 * i + 1 < last ? 2 * i + 1 : last) * stride]);
    } else if constexpr (kForm == KvForm::kBf16) {
      const uint32_t pair = reinterpret_cast<const uint32_t*>(values)[i * head_dim + d];
      return make_float2(bf16_value(pair & 0xffff), bf16_value(pair >> 16));
    } else {
      const Raw* v = reinterpret_cast<const Raw*>(values) + 2 * i * head_dim + d;
      return make_float2(static_cast<float>(v[0]), static_cast<float>(v[head_dim]));
    }
  }
};

}  // namespace verdant::cuda
