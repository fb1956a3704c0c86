// What the kernels of linear share.
#pragma once
#include "core/error.h"
#include "cuda/launch.cuh"
#include "cuda/linear.h"
#include "cuda/weights.h"

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

static inline SegmentArgs segment_args(const MatrixSegment& m, int64_t cols, const float* bias, float* y,
                                       int64_t y_stride) {
  const int64_t block = block_layout(m.type).block;
  return {m.data,
          m.row_bytes,
          m.rows,
          cols,
          (cols + block - 1) / block,
          m.row_begin,
          bias ? bias + m.row_begin : nullptr,
          y + m.row_begin,
          y_stride};
}

// f.template operator()<type>() of the types of weights.
template <class F>
static void with_weight_type(DType type, const F& f) {
  switch (type) {
    case kF32:
      return f.template operator()<kF32>();
    case kF16:
      return f.template operator()<kF16>();
    case kBF16:
      return f.template operator()<kBF16>();
    case kQ8_0:
      return f.template operator()<kQ8_0>();
    case kQ4_0:
      return f.template operator()<kQ4_0>();
    case kQ4_1:
      return f.template operator()<kQ4_1>();
    case kQ5_0:
      return f.template operator()<kQ5_0>();
    case kQ5_1:
      return f.template operator()<kQ5_1>();
    case kQ2_K:
      return f.template operator()<kQ2_K>();
    case kQ3_K:
      return f.template operator()<kQ3_K>();
    case kQ4_K:
      return f.template operator()<kQ4_K>();
    case kQ5_K:
      return f.template operator()<kQ5_K>();
    case kQ6_K:
      return f.template operator()<kQ6_K>();
    case kIQ4_NL:
      return f.template operator()<kIQ4_NL>();
    case kIQ4_XS:
      return f.template operator()<kIQ4_XS>();
    default:
      throw Error("ERR_UNSUPPORTED", "a matrix of this type cannot be multiplied on a CUDA device");
  }
}

constexpr int kMaxSegments = 8;

// Segments of one type that one launch multiplies, each by blocks of threads of its own.
struct SegmentList {
  SegmentArgs segment[kMaxSegments];
  int64_t block_end[kMaxSegments];
  int32_t count;
};

// The rows of x that a block of threads takes, and the rows of w, of one segment.
struct BlockRows {
  int64_t first, count;      // of x
  int64_t w_begin, w_count;  // of the segment
  int64_t y_column;          // of w_begin
};

// Blocks of `x_rows` rows of x, fastest, by `w_rows` rows of w. With tiles: count 0 where the tile's expert lies in
// another segment.
// `block`: number of this block within its segment.
static __device__ __forceinline__ BlockRows block_rows(const SegmentArgs& s, const RowSource& source, int64_t block,
                                                       int64_t x_rows, int64_t w_rows) {
  const int64_t x_blocks = source.tiles ? source.tile_count : (source.rows + x_rows - 1) / x_rows;
  const int64_t x_block = block % x_blocks, w_block = block / x_blocks;
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  if (source.tiles == nullptr) {
    const int64_t group = source.group_rows > 0 ? source.group_rows : s.rows, per = (group + w_rows - 1) / w_rows;
    const int64_t at = w_block % per * w_rows, begin = w_block / per * group + at;
    return {x_block * x_rows, least(x_rows, source.rows - x_block * x_rows), begin, least(w_rows, group - at), begin};
  }
  const ExpertTile tile = source.tiles[x_block];
  const int64_t base = tile.expert * source.expert_rows - s.row_begin, begin = w_block * w_rows;
  const bool inside = tile.count > 0 && base >= 0 && base < s.rows;
  return {tile.first, inside ? tile.count : 0, base + begin, least(w_rows, source.expert_rows - begin), begin};
}

// The segment of this block, and the block's number within it.
static __device__ __forceinline__ const SegmentArgs& own_segment(const SegmentList& list, int64_t& block) {
  block = blockIdx.x;
  int32_t i = 0;
  while (i + 1 < list.count && block >= list.block_end[i]) i++;
  if (i > 0) block -= list.block_end[i - 1];
  return list.segment[i];
}

// Counts the blocks of each segment; gives all of them.
static inline unsigned count_blocks(SegmentList& list, const RowSource& source, int64_t x_rows, int64_t w_rows) {
  int64_t all = 0;
  for (int32_t i = 0; i < list.count; i++) {
    const int64_t rows = list.segment[i].rows;
    if (source.tiles != nullptr) {
      all += source.tile_count * blocks_of(source.expert_rows, w_rows);
    } else {
      const int64_t group = source.group_rows > 0 ? source.group_rows : rows;
      all += int64_t{blocks_of(source.rows, x_rows)} * blocks_of(group, w_rows) * (rows / group);
    }
    list.block_end[i] = all;
  }
  return static_cast<unsigned>(all);
}

}  // namespace verdant::cuda
