// Products of rows with weight matrices, for the ops that have them: linear, moe, conv1d.
#pragma once
#include "cuda/op.h"

namespace verdant::cuda {

// Some rows of x that meet one expert of a stack of matrices (moe): places first .. first + count - 1 of a list.
struct ExpertTile {
  int32_t expert, first, count;
};

// Where rows of x come from: row i is x + i * stride; or (list) x + list[i] * stride. With `tiles`, block i of rows is
// tiles[i], of a matrix that begins at row expert * rows of the segments, and tiles whose expert lies in another
// segment pass.
struct RowSource {
  const float* x;
  int64_t stride;
  int64_t rows;  // in all
  const int32_t* list;
  const ExpertTile* tiles;
  int64_t tile_count;
  int64_t expert_rows;  // output rows of an expert
  int64_t group_rows;   // conv1d: no block of threads has output rows of two groups of so many; 0: no groups
};

// x in bf16, (rows, groups of 32 columns) of 16 words: in order of the columns (`linear`), or dealt to the lanes of a
// row as weights are (`dealt`, units.h), 4 words each; and sums of 16 columns: in f32, (rows, groups, 2), and as three
// bf16 that make up one together, (rows, units of 256 columns, 4 lanes) of 8 words: lane t has those of sums 2 t and
// 2 t + 1, and of 2 t + 8 and 2 t + 9, of the high parts, the middle ones and the low ones; two words are not used.
//   For linear_codes.cuh: words 0 2 4 6 1 3 5 7 of each 16 columns (`stepped`), so that a product's columns are those
// that lanes have codes of; and the parts of a unit as 16 high, 16 middle and 16 low ones, and 16 that are not used.
struct RoundedRows {
  const uint4* x;
  const float* sums;
  const uint4* parts;
  int64_t groups;
};

// Where rounded rows go, in the forms that the weights of a linear want; null: not wanted.
struct RoundTarget {
  uint32_t *linear, *dealt, *stepped;
  float* sums;
  uint16_t *parts, *stepped_parts;
  int64_t groups;
  bool alone;  // the rows themselves are not wanted: whoever makes them may leave them out
  __host__ __device__ bool wanted() const { return linear != nullptr || dealt != nullptr || stepped != nullptr; }
};

constexpr int64_t kPartsOfUnit = 64;  // halves of words of a unit's parts

// y[i][n] = sum_k x[i][k] w[n][k] (+ bias[n]), rows of y as rows of the source (with a list: of the list).
struct Product {
  const DeviceMatrix* weight;
  const float* bias;  // or null
  float* y;
  int64_t y_stride;
};

// How a type is multiplied where `wanted` was asked for; kComputeCount: it cannot be.
Compute linear_compute(Compute wanted, DType type);
// Bytes that `multiply` needs for x of a source with these matrices.
int64_t multiply_workspace(const OpCall& call, int64_t rows, int64_t cols, const DeviceMatrix* const* weights,
                           int32_t count);
// All products of the same rows of x; `rounded`: x lies in the workspace in the forms that are wanted.
void multiply(const OpCall& call, const Gpu& gpu, const RowSource& source, const Product* products, int32_t count,
              uint8_t* workspace, bool rounded = false);

// Of a call of `linear`: its matrix of output p; bytes of its workspace; where its rounded x lies for weights of a
// type.
const DeviceMatrix& linear_matrix(const OpCall& call, int32_t p);
int64_t linear_workspace(const OpCall& call);
RoundedRows linear_rows(const OpCall& call, DType type, const Gpu& gpu);

// Rows per ExpertTile at most.
constexpr int32_t kExpertTileRows = 32;

}  // namespace verdant::cuda
