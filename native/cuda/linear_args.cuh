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

// Parts, of so many columns each, of a slice: depends on the columns and the type of the weights alone.
static __host__ __device__ __forceinline__ int64_t slice_units(int64_t cols, int64_t unit) {
  const int64_t units = (cols + unit - 1) / unit;
  return (units + kSlices - 1) / kSlices;
}

// One segment of one product. Places in memory are 64 bits wide, all other numbers 32: wide ones cost a kernel of few
// rows dearly.
struct SegmentArgs {
  const uint8_t* data;
  const float* bias;  // of the segment's first row; or null
  float* y;           // column of the segment's first row
  int64_t y_stride;
  int32_t row_bytes, rows, cols;
  int32_t row_begin;     // of the segment in its matrix
  int32_t units, slice;  // of a row, of a slice of a row
  int32_t slices;        // that have units
};

static __device__ __forceinline__ const uint8_t* weight_row(const SegmentArgs& s, int32_t row) {
  return s.data + int64_t{row} * s.row_bytes;
}

static inline SegmentArgs segment_args(const MatrixSegment& m, int64_t cols, const float* bias, float* y,
                                       int64_t y_stride) {
  const UnitLayout layout = unit_layout(m.type);
  const int64_t units = unit_count(layout, cols), slice = slice_units(cols, layout.cols);
  SegmentArgs s{};
  s.data = m.data;
  s.bias = bias ? bias + m.row_begin : nullptr;
  s.y = y + m.row_begin;
  s.y_stride = y_stride;
  s.row_bytes = static_cast<int32_t>(m.row_bytes);
  s.rows = static_cast<int32_t>(m.rows);
  s.cols = static_cast<int32_t>(cols);
  s.row_begin = static_cast<int32_t>(m.row_begin);
  s.units = static_cast<int32_t>(units);
  s.slice = static_cast<int32_t>(slice);
  s.slices = static_cast<int32_t>(slice > 0 ? (units + slice - 1) / slice : 0);
  return s;
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
  uint32_t block_end[kMaxSegments];
  int32_t count;
  uint32_t early;  // so many blocks may wait for the kernel before, and call for weights meanwhile
};

// The rows of x that a block of threads takes, and the rows of w, of one segment.
struct BlockRows {
  int32_t first, count;      // of x
  int32_t w_begin, w_count;  // of the segment
  int32_t y_column;          // of w_begin
};

// Blocks of `x_rows` rows of x, fastest, by `w_rows` rows of w. With tiles: count 0 where the tile's expert lies in
// another segment.
// `block`: number of this block within its segment. Dividing takes long, so that it is done where it must be.
static __device__ __forceinline__ BlockRows block_rows(const SegmentArgs& s, const RowSource& source, uint32_t block,
                                                       int32_t x_rows, int32_t w_rows) {
  const auto rows = static_cast<int32_t>(source.rows), group = static_cast<int32_t>(source.group_rows);
  const auto x_blocks = source.tiles ? static_cast<uint32_t>(source.tile_count)
                                     : (static_cast<uint32_t>(rows) + x_rows - 1) / static_cast<uint32_t>(x_rows);
  const uint32_t w_block = x_blocks > 1 ? block / x_blocks : block, x_block = block - w_block * x_blocks;
  const auto least = [](int32_t a, int32_t b) { return a < b ? a : b; };
  const auto begin = static_cast<int32_t>(w_block) * w_rows;
  if (source.tiles != nullptr) {
    const ExpertTile tile = source.tiles[x_block];
    const auto expert_rows = static_cast<int32_t>(source.expert_rows), base = tile.expert * expert_rows - s.row_begin;
    const bool inside = tile.count > 0 && base >= 0 && base < s.rows;
    return {tile.first, inside ? tile.count : 0, base + begin, least(w_rows, expert_rows - begin), begin};
  }
  const int32_t first = static_cast<int32_t>(x_block) * x_rows, count = least(x_rows, rows - first);
  if (group == 0) return {first, count, begin, least(w_rows, s.rows - begin), begin};
  const auto per = static_cast<uint32_t>((group + w_rows - 1) / w_rows);
  const auto at = static_cast<int32_t>(w_block % per) * w_rows, own = static_cast<int32_t>(w_block / per) * group + at;
  return {first, count, own, least(w_rows, group - at), own};
}

// The segment of this block, and the block's number within it.
static __device__ __forceinline__ const SegmentArgs& own_segment(const SegmentList& list, uint32_t& block) {
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
    list.block_end[i] = static_cast<uint32_t>(all);
  }
  return static_cast<unsigned>(all);
}

}  // namespace verdant::cuda
