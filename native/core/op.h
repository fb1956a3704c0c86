// What every layer agrees on about ops: element types, tensor views, op definitions, kernel tables.
// Plain data and C headers only: the ISA files include this, so nothing here may emit shared code.
#pragma once
#include <stddef.h>
#include <stdint.h>

// For the parts of register tiles: as a call, one would spill all accumulators.
#if defined(_MSC_VER) && !defined(__clang__)
#define VERDANT_INLINE __forceinline
#else
#define VERDANT_INLINE inline __attribute__((always_inline))
#endif

namespace verdant {

// Element types of values, and block types of packed weights. Names as in lib/graph/dtype.ts.
enum DType : int32_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kU8,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kDTypeCount
};

// How a linear multiplies. `kComputeAuto` is resolved when an executable is built, never by the number of rows.
enum Compute : int32_t { kComputeAuto, kComputeF32, kComputeBF16, kComputeInt8_32, kComputeInt8_256, kComputeCount };

constexpr int32_t kMaxRank = 4;
constexpr int32_t kMaxArity = 20;

// A view of row-major data; for a packed matrix `data` points to a PackedMatrix.
struct Tensor {
  void* data;
  DType dtype;
  int32_t rank;
  int64_t dim[kMaxRank];
};

constexpr int64_t kPanelRows = 16;  // output rows of a panel: one vector lane each

// Consecutive output rows of one type. A panel holds 16 rows; missing rows of the last one are zero.
struct PanelSegment {
  DType type;
  int64_t row_begin;
  int64_t rows;
  const uint8_t* data;
  int64_t panel_bytes;
};

// A weight matrix (rows, cols) packed for `linear` and `embed`.
struct PackedMatrix {
  int64_t rows;
  int64_t cols;
  int32_t segment_count;
  const PanelSegment* segments;
};

enum AttrType : int32_t { kAttrInt, kAttrNumber, kAttrBool, kAttrChoice };

// One attribute of an op: its field in the op's attribute struct (int64_t, or double for kAttrNumber).
struct AttrDef {
  const char* name;
  AttrType type;
  size_t offset;
  const char* const* choices;  // null-terminated, for kAttrChoice: the field holds the index
};

// Names ending in '?' may be absent; a last input named "...": any number of further inputs.
struct OpDef {
  const char* name;
  const char* const* inputs;   // null-terminated
  const char* const* outputs;  // null-terminated
  const AttrDef* attrs;        // ends with name == nullptr
  size_t attrs_size;
};

struct KernelTable;

// One execution of a node: views are resolved before each step. An absent tensor has data == nullptr and rank 0.
struct OpCall {
  const void* attrs;
  const KernelTable* kernels;
  Tensor in[kMaxArity];
  Tensor out[kMaxArity];
  int32_t in_count;
  int32_t out_count;
  Compute compute;  // of a linear: what was asked for
  uint8_t* workspace;
};

// A kernel runs ranges of independent tasks; the result never depends on how tasks are divided.
struct Kernel {
  int32_t phases;  // tasks of a phase start when all of the phase before are done
  int64_t (*tasks)(const OpCall& call, int32_t phase);
  void (*run)(const OpCall& call, int32_t phase, int64_t begin, int64_t end);
  int64_t (*workspace)(const OpCall& call);  // bytes; null: none
  int64_t (*cost)(const OpCall& call);       // rough count of scalar operations
  // Phase 0 by rows: rows begin .. end - 1 of all values, needing no other row of them. Null: it cannot.
  void (*rows)(const OpCall& call, int32_t phase, int64_t begin, int64_t end) = nullptr;
};

// y[m][n] = sum_k x[m][k] w[n][k] (+ bias[n]) for m rows and whole panels; k ascends in each lane.
struct GemmArgs {
  const void* x;  // float, bf16 for kComputeBF16, int8 for kComputeInt8_*
  int64_t x_stride;
  const float* x_scales;  // of int8 x: one for each 32 or 256, and what AuxForm says
  int64_t x_scales_stride;
  const void* x_aux;
  int64_t x_aux_stride;
  int64_t m;
  const uint8_t* panels;
  int64_t panel_bytes;
  int64_t n;  // valid output rows in these panels
  int64_t k;
  float* y;
  int64_t y_stride;
  const float* bias;
};

// What an int8 kernel of a weight type needs of each `sub` of a row of x, 4 bytes each: -bias times the sum of its int8
// values (an integer); or where the type has minima, that sum, or that sum times its scale (floats). Nothing without
// bias and minima.
enum Minima : int32_t { kNoMinima, kPlainMinima, kScaledMinima };
struct AuxForm {
  int32_t sub;
  int32_t bias;
  Minima minima;
};

using GemmFn = void (*)(const GemmArgs& args);
using DecodeRowFn = void (*)(const uint8_t* panel, int64_t lane, int64_t k, float* out);

constexpr int32_t kMaxOps = 48;

// Filled by overlays, weakest tier first; chosen once per executable.
struct KernelTable {
  Kernel op[kMaxOps];
  GemmFn gemm[kDTypeCount][kComputeCount];
  GemmFn int8_many[kDTypeCount];  // for int8_many_rows and more, with the bits of `gemm`; null: none
  int64_t int8_many_rows;
  AuxForm aux[kDTypeCount];
  bool auto_bf16;  // bf16 products are faster than f32 ones here
  DecodeRowFn decode_row[kDTypeCount];
  void (*to_bf16)(const float* x, uint16_t* y, int64_t n);
};

// How a segment is multiplied where `wanted` was asked for: by its type alone. kComputeCount: it cannot be.
static inline Compute segment_compute(const KernelTable* table, Compute wanted, DType type) {
  const GemmFn* gemm = table->gemm[type];
  if (wanted == kComputeAuto)
    wanted = gemm[kComputeInt8_32] != nullptr                    ? kComputeInt8_32
             : gemm[kComputeInt8_256] != nullptr                 ? kComputeInt8_256
             : gemm[kComputeBF16] != nullptr && table->auto_bf16 ? kComputeBF16
                                                                 : kComputeF32;
  return gemm[wanted] == nullptr ? kComputeCount : wanted;
}

}  // namespace verdant
