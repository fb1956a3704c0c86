// Attention over a cache of KvForm::kTiles on tensor cores. q and the weights are rounded to bf16, sums are f32. A
// row's bits, whatever kernel and whatever neighbours:
//   s      products of 16 columns, in order
//   chunk  blocks of 64 keys in order: the reference r follows the largest score once that lies more than kSlack above
//          it, p = 2^(s - r), o and l = sums of products of 16 keys in order, times 2^(old r - r) where r moved
//   merge  chunks left to right
// Scores are in units of log2. Keys that are not seen have p = 0; values outside of what a tile sees become zeros.
#pragma once
#include "cuda/attention.cuh"
#include "cuda/kv_cache.cuh"

namespace verdant::cuda {

constexpr int kBlockKeys = 64, kBlockPages = kBlockKeys / static_cast<int>(kPage);
constexpr float kSlack = 8.0f;
constexpr float kLog2E = 1.44269504088896340736f;
constexpr uint32_t kOnes = 0x3f803f80u;  // of bf16

// Takes in the largest score of a block of keys; what the sums so far are multiplied by.
static __device__ __forceinline__ float move_reference(float& reference, float top) {
  if (!(top > reference + kSlack)) return 1.0f;
  const float factor = power_of_two(reference - top);
  reference = top;
  return factor;
}
// 2^(scale s - reference); 0 where s = -inf.
static __device__ __forceinline__ float tensor_weight(float s, float scale, float reference) {
  return power_of_two(fmaf(s, scale, reference == -INFINITY ? 0.0f : -reference));
}

// Whether a score is scale * q k and nothing else, of keys within a range.
static __host__ __device__ __forceinline__ bool plain_scores(const AttentionArgs& a) {
  return a.softcap <= 0.0f && a.scale > 0.0f && a.mask == nullptr && a.bias == nullptr && a.slopes == nullptr &&
         a.relative == nullptr && a.places == nullptr && a.place_bias == nullptr;
}
// What tensor_weight scales by: other scores than plain ones are whole before.
static __device__ __forceinline__ float weight_scale(const AttentionArgs& a, bool plain) {
  return plain ? a.scale * kLog2E : 1.0f;
}
__attribute__((noinline)) static __device__ float whole_score(const AttentionArgs& a, const Query& q, int64_t seq,
                                                              int64_t key, float s) {
  return finish_score(a, q, seq, key, s) * kLog2E;
}

static __device__ __forceinline__ float four_max(float x) {  // of lanes 4 g .. 4 g + 3
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}

// seen_keys by a warp, all lanes get it.
static __device__ __forceinline__ KeyRange warp_seen_keys(const Query* queries, int count) {
  int begin = INT32_MAX, end = 0;
  for (int i = warp_lane(); i < count; i += kWarp) {
    if (queries[i].first >= queries[i].end) continue;
    begin = min(begin, queries[i].first);
    end = max(end, queries[i].end);
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    begin = min(begin, __shfl_xor_sync(kAllLanes, begin, lanes));
    end = max(end, __shfl_xor_sync(kAllLanes, end, lanes));
  }
  return {begin, end};
}
// What each of `count` queries sees.
static __device__ __forceinline__ KeyRange common_keys(const Query* queries, int count) {
  KeyRange r = {0, INT32_MAX};
  for (int n = 0; n < count; n++) r = {max(r.begin, queries[n].first), min(r.end, queries[n].end)};
  return r;
}

// The word of keys `key` (low half) and key + 1, of which only some lie in range.
static __device__ __forceinline__ uint32_t pair_in_range(uint32_t word, int64_t key, const KeyRange& r) {
  return (key >= r.begin && key < r.end ? word & 0xffffu : 0u) |
         (key + 1 >= r.begin && key + 1 < r.end ? word & 0xffff0000u : 0u);
}

// Which of 16 things column c of tile `tile` of two stands for, so that lane t, which holds columns 2 t and 2 t + 1 of
// each, has 4 t .. 4 t + 3 of them.
static __device__ __forceinline__ int dealt(int c, int tile) { return c / 2 * 4 + 2 * tile + c % 2; }

// q of a lane for the products of columns 16 step .. 16 step + 15, as `a` of mma: lane t has columns 4 t .. 4 t + 3 of
// them. Zeros for queries and columns that are not there. load(query, d): columns d .. d + 3.
template <class Load>
static __device__ __forceinline__ void query_fragment(const AttentionArgs& a, const Query* queries, int count, int step,
                                                      uint32_t out[4], const Load& load) {
  const int d = 16 * step + warp_lane() % 4 * 4;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int n = warp_lane() / 4 + 8 * h;
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (n < count && d < a.head_dim) x = load(queries[n], d);
    out[h] = bf16_pair(x.x, x.y);
    out[2 + h] = bf16_pair(x.z, x.w);
  }
}
static __device__ __forceinline__ void query_fragment(const AttentionArgs& a, const Query* queries, int count, int step,
                                                      uint32_t out[4]) {
  query_fragment(a, queries, count, step, out, [&a](const Query& q, int d) {
    return *reinterpret_cast<const float4*>(a.q + (q.row * a.heads + q.head) * a.head_dim + d);
  });
}

// s of 16 queries with a page of keys, += one step of 16 columns. k[tile]: columns 4 t .. 4 t + 3 of the step of key
// tile_key(tile).
static __device__ __forceinline__ void multiply_page(float s[4][4], const uint32_t q[4], const uint2 k[4]) {
#pragma unroll
  for (int tile = 0; tile < 4; tile++) mma(s[tile], q, k[tile].x, k[tile].y);
}
static __device__ __forceinline__ int tile_key(int tile) { return tile / 2 * 16 + dealt(warp_lane() / 4, tile % 2); }
// The key of s[tile][i] within the page; i / 2: query g or g + 8.
static __device__ __forceinline__ int page_key(int tile, int i) {
  return tile / 2 * 16 + dealt(warp_lane() % 4 * 2 + i % 2, tile % 2);
}
// Weights of keys 16 half .. 16 half + 15 of a page as `a` of mma: lane t has keys 4 t .. 4 t + 3 of them.
static __device__ __forceinline__ void weight_fragment(const float p[4][4], int half, uint32_t out[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) out[i] = bf16_pair(p[2 * half + i / 2][i % 2 * 2], p[2 * half + i / 2][i % 2 * 2 + 1]);
}
// o (16 queries, 16 columns) += p v. v[tile]: keys 4 t .. 4 t + 3 of column dealt(g, tile). Lane t gets columns
// 4 t .. 4 t + 3, see columns_of.
static __device__ __forceinline__ void multiply_columns(float o[2][4], const uint32_t p[4], const uint2 v[2]) {
#pragma unroll
  for (int tile = 0; tile < 2; tile++) mma(o[tile], p, v[tile].x, v[tile].y);
}
// Columns 4 t .. 4 t + 3 of query g (h = 0) or g + 8.
static __device__ __forceinline__ float4 columns_of(const float o[2][4], int h) {
  return make_float4(o[0][2 * h], o[0][2 * h + 1], o[1][2 * h], o[1][2 * h + 1]);
}

// A page of one head.
struct TensorPage {
  const uint8_t* keys;
  const uint8_t* values;
  __device__ __forceinline__ TensorPage(const AttentionArgs& a, int64_t seq, int64_t kv_head, int64_t page) {
    const int64_t block = page_block(a, seq, page), head = a.layer_heads + kv_head;
    keys = a.k + block * a.key_block + head * a.key_head;
    values = a.v + block * a.value_block + head * a.value_head;
  }
};

// Whether any of keys begin .. begin + count - 1 is in range; whether all are.
static __device__ __forceinline__ bool some_in(const KeyRange& r, int64_t begin, int count) {
  return begin < r.end && begin + count > r.begin;
}
static __device__ __forceinline__ bool all_in(const KeyRange& r, int64_t begin, int count) {
  return begin >= r.begin && begin + count <= r.end;
}

// Scores of a page become whole ones where they are not plain; keys that a query does not see get -inf.
static __device__ __forceinline__ void see_page(const AttentionArgs& a, bool plain, const Query* queries, int count,
                                                int64_t seq, int64_t first_key, float s[4][4]) {
  const int g = warp_lane() / 4;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const bool here = g + 8 * h < count;
    const Query& q = queries[here ? g + 8 * h : 0];
    const int64_t first = q.first, end = here ? q.end : 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float& x = s[i / 2][2 * h + i % 2];
      const int64_t key = first_key + page_key(i / 2, i % 2);
      if (key < first || key >= end) {
        x = -INFINITY;
      } else if (!plain) {
        x = whole_score(a, q, seq, key, x);
      }
    }
  }
}
// The largest score of query g + 8 h with a page.
static __device__ __forceinline__ float page_top(const float s[4][4], int h) {
  float top = fmaxf(s[0][2 * h], s[0][2 * h + 1]);
#pragma unroll
  for (int tile = 1; tile < 4; tile++) top = fmaxf(top, fmaxf(s[tile][2 * h], s[tile][2 * h + 1]));
  return top;
}

}  // namespace verdant::cuda
