// What the kernels of linear share.
#pragma once
#include "cuda/launch.cuh"
#include "cuda/linear.h"

namespace verdant::cuda {

constexpr int kGroup = 32;  // columns of x and w that a step takes
constexpr int kSlices = 8;  // parts of the columns that are summed for themselves and then added in order
constexpr int kLinearThreads = kSlices * kWarp;

// Groups of a slice: depends on the columns alone.
static __host__ __device__ __forceinline__ int64_t slice_groups(int64_t cols) {
  const int64_t groups = (cols + kGroup - 1) / kGroup;
  return (groups + kSlices - 1) / kSlices;
}

// One segment of one product.
struct SegmentArgs {
  const uint8_t* data;
  int64_t row_bytes, rows, cols;
  int64_t blocks;     // of a row
  int64_t row_begin;  // of the segment in its matrix
  const float* bias;  // of the segment's first row; or null
  float* y;           // column of the segment's first row
  int64_t y_stride;
};

// The rows of x that a block of threads takes, and the rows of w, of one segment.
struct BlockRows {
  int64_t first, count;      // of x
  int64_t w_begin, w_count;  // of the segment
  int64_t y_column;          // of w_begin
};

// Blocks of `x_rows` rows of x, fastest, by `w_rows` rows of w. With tiles: count 0 where the tile's expert lies in
// another segment.
static __device__ __forceinline__ BlockRows block_rows(const SegmentArgs& s, const RowSource& source, int64_t x_rows,
                                                       int64_t w_rows) {
  const int64_t x_blocks = source.tiles ? source.tile_count : (source.rows + x_rows - 1) / x_rows;
  const int64_t x_block = blockIdx.x % x_blocks, w_block = blockIdx.x / x_blocks;
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  if (source.tiles == nullptr) {
    const int64_t begin = w_block * w_rows;
    return {x_block * x_rows, least(x_rows, source.rows - x_block * x_rows), begin, least(w_rows, s.rows - begin),
            begin};
  }
  const ExpertTile tile = source.tiles[x_block];
  const int64_t base = tile.expert * source.expert_rows - s.row_begin, begin = w_block * w_rows;
  const bool inside = tile.count > 0 && base >= 0 && base < s.rows;
  return {tile.first, inside ? tile.count : 0, base + begin, least(w_rows, source.expert_rows - begin), begin};
}

static inline unsigned grid_of(const SegmentArgs& s, const RowSource& source, int64_t x_rows, int64_t w_rows) {
  const int64_t rows = source.tiles ? source.expert_rows : s.rows;
  return static_cast<unsigned>((source.tiles ? source.tile_count : blocks_of(source.rows, x_rows)) *
                               blocks_of(rows, w_rows));
}

}  // namespace verdant::cuda
