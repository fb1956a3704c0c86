// Keys and values of rows, laid in tiles as a bf16 cache has them, for attention on tensor cores.
#pragma once
#include "cuda/attention.cuh"
#include "cuda/kv_cache.cuh"

namespace verdant::cuda {

constexpr int kLayThreads = 128;

// Pages that rows of so many sequences fill at most, see page_block.
static inline int64_t row_pages(int64_t rows, int64_t sequences) { return rows / kPage + sequences; }

struct LaidRows {
  const float *k, *v;  // (rows, kv_heads, head_dim)
  const int32_t* key_starts;
  uint32_t *keys, *values;  // (pages, kv_heads): (page, head_dim), (head_dim, page) in bf16
  int64_t sequences, kv_heads;
  int32_t head_dim;
};

// One block per page and head; slots behind the last row are zeros.
static __global__ void __launch_bounds__(kLayThreads) lay_rows_kernel(const __grid_constant__ LaidRows l) {
  wait_for_predecessors();
  const int64_t kv_head = blockIdx.x % l.kv_heads;
  const RowTile page = row_tile(l.key_starts, l.sequences, kPage, blockIdx.x / l.kv_heads);
  const int count = static_cast<int>(page.end - page.begin), eighths = l.head_dim / 8;
  if (count <= 0) return;
  const int64_t stride = l.kv_heads * l.head_dim, from = page.begin * stride + kv_head * l.head_dim;
  const int64_t to = int64_t{blockIdx.x} * (l.head_dim * kPage / 2);  // words
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(kPage) * eighths; i += kLayThreads) {
    const int slot = i / eighths;
    float4 x[2] = {};
    if (slot < count) {
      const auto* row = reinterpret_cast<const float4*>(l.k + from + slot * stride + i % eighths * 8);
      x[0] = row[0], x[1] = row[1];
    }
    reinterpret_cast<uint4*>(l.keys + to)[i] = make_uint4(bf16_pair(x[0].x, x[0].y), bf16_pair(x[0].z, x[0].w),
                                                          bf16_pair(x[1].x, x[1].y), bf16_pair(x[1].z, x[1].w));
  }
  for (int i = static_cast<int>(threadIdx.x); i < 2 * l.head_dim; i += kLayThreads) {
    const int d = i % l.head_dim, half = i / l.head_dim;  // 16 slots of a column
    const float* column = l.v + from + d;
    uint32_t words[8];
#pragma unroll
    for (int w = 0; w < 8; w++) {
      const int slot = 16 * half + 2 * w;
      words[w] =
          bf16_pair(slot < count ? column[slot * stride] : 0.0f, slot + 1 < count ? column[(slot + 1) * stride] : 0.0f);
    }
    auto* out = reinterpret_cast<uint4*>(l.values + to + d * (kPage / 2) + 8 * half);
    out[0] = make_uint4(words[0], words[1], words[2], words[3]);
    out[1] = make_uint4(words[4], words[5], words[6], words[7]);
  }
}

}  // namespace verdant::cuda
