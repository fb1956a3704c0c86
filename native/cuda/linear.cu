#include "ops/linear.h"

#include <algorithm>

#include "core/error.h"
#include "cuda/fuse.h"
#include "cuda/linear_codes.cuh"
#include "cuda/linear_f32_many.cuh"
#include "cuda/linear_few.cuh"
#include "cuda/linear_hopper.cuh"
#include "cuda/linear_many.cuh"
#include "cuda/rounding.cuh"
#include "cuda/rows.cuh"

namespace verdant::cuda {

// Linear and its kin choose by type and wanted compute alone, never by the number of rows.
Compute linear_compute(Compute wanted, DType type) {
  const bool tensor = has_scales(type) || type == kBF16;
  switch (wanted) {
    case kComputeAuto:
      return tensor ? kComputeBF16 : kComputeF32;
    case kComputeF32:
      return kComputeF32;
    case kComputeBF16:
      return tensor ? kComputeBF16 : kComputeCount;
    default:
      return kComputeCount;
  }
}

// Rows of x from which on bf16 weights go through the kernels of linear_hopper.cuh, where the GPU has them.
constexpr int64_t kHopperRows = 33;

// x (rows, cols) in bf16: a thread takes four columns.
static __global__ void round_kernel(RowSource source, int64_t rows, int cols, bool aligned, RoundTarget to) {
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, quarters = to.groups * kQuartersOfGroup;
  const int64_t row = i / quarters, quarter = i % quarters;
  const bool inside = row < rows;
  Quad q = {};
  if (inside) q = load_quad(source.x + row * source.stride, static_cast<int>(4 * quarter), cols, aligned);
  round_quarter(q.v, row, quarter, inside, to);
}

// Where the rounded rows lie in the workspace; absent where no type wants them.
struct RoundedForms {
  int64_t linear = -1, dealt = -1, stepped = -1, sums = -1, parts = -1, stepped_parts = -1, bytes = 0;
  int64_t groups = 0;
  bool hopper = false;  // bf16 weights go through linear_hopper.cuh
  bool codes = false;   // weights of blocks go through linear_codes.cuh, where it has their type
};

// What a type wants of forms: its minima, and whether linear_codes.cuh has it.
struct TypeForm {
  Minima minima = Minima::kNone;
  bool codes = false;
};
static TypeForm type_form(DType type) {
  TypeForm out;
  with_weight_type(type, [&]<DType kType>() {
    if constexpr (has_scales(kType)) out = {Fragments<kType>::kMinima, codes_kernel<kType>()};
  });
  return out;
}

// Whether the tiles of linear_codes.cuh keep the GPU busy.
static bool codes_wanted(int64_t rows, const DeviceMatrix* const* weights, int32_t count, const Gpu& gpu) {
  int64_t tiles = 0;
  for (int32_t w = 0; w < count; w++)
    for (int32_t i = 0; i < weights[w]->segment_count; i++) {
      const MatrixSegment& m = weights[w]->segments[i];
      if (type_form(m.type).codes) tiles += blocks_of(rows, kCodesRows) * blocks_of(m.rows, kCodesWeights);
    }
  return gpu.hopper.codes && rows > kCodesRows / 2 && 2 * tiles >= gpu.multiprocessors;
}

// Rows that no list names.
static RoundedForms rounded_forms(const OpCall& call, int64_t rows, int64_t cols, const DeviceMatrix* const* weights,
                                  int32_t count, const Gpu& gpu) {
  RoundedForms f;
  f.hopper = gpu.hopper.linear && rows >= kHopperRows;
  f.codes = codes_wanted(rows, weights, count, gpu);
  f.groups = (cols + kGroup - 1) / kGroup;
  bool linear = false, dealt = false, stepped = false, sums = false, parts = false, stepped_parts = false;
  for (int32_t w = 0; w < count; w++)
    for (int32_t i = 0; i < weights[w]->segment_count; i++) {
      const DType type = weights[w]->segments[i].type;
      if (linear_compute(call.compute, type) != kComputeBF16) continue;
      const TypeForm form = type_form(type);
      const bool codes = f.codes && form.codes;
      (type == kBF16 && f.hopper ? linear : codes ? stepped : dealt) = true;
      sums |= form.minima == Minima::kOfGroups;
      (codes ? stepped_parts : parts) |= form.minima == Minima::kOfUnit;
    }
  const auto take = [&](bool wanted, int64_t& at, int64_t bytes) {
    if (!wanted) return;
    at = f.bytes;
    f.bytes += (bytes + 255) / 256 * 256;
  };
  const int64_t parts_bytes = rows * ((f.groups + 7) / 8) * kPartsOfUnit * 2;
  take(linear, f.linear, rows * f.groups * 64);
  take(dealt, f.dealt, rows * f.groups * 64);
  take(stepped, f.stepped, rows * f.groups * 64);
  take(sums, f.sums, rows * f.groups * 2 * 4);
  take(parts, f.parts, parts_bytes);
  take(stepped_parts, f.stepped_parts, parts_bytes);
  return f;
}

// Whichever kernels run.
int64_t multiply_workspace(const OpCall& call, int64_t rows, int64_t cols, const DeviceMatrix* const* weights,
                           int32_t count) {
  int64_t bytes = 0;
  constexpr HopperKernels kAll = {true, true, true};
  for (const Gpu& gpu : {Gpu{}, Gpu{INT32_MAX, 0, nullptr, kAll}, Gpu{1, 0, nullptr, kAll}})
    bytes = std::max(bytes, rounded_forms(call, rows, cols, weights, count, gpu).bytes);
  return bytes;
}

struct SourceRows {
  RowSource source;
  __device__ __forceinline__ float operator()(int64_t i, int64_t k, int64_t) const {
    return source.x[source_row(source, i) * source.stride + k];
  }
  struct Row {
    const float* x;
    bool wide;
    __device__ __forceinline__ float4 quad(int k, int cols) const {
      if (wide) return *reinterpret_cast<const float4*>(x + k);
      return make_float4(x[k], k + 1 < cols ? x[k + 1] : 0.0f, k + 2 < cols ? x[k + 2] : 0.0f,
                         k + 3 < cols ? x[k + 3] : 0.0f);
    }
  };
  __device__ __forceinline__ Row row(int64_t i, int64_t) const {
    return {source.x + i * source.stride, source.stride % 4 == 0 && reinterpret_cast<uintptr_t>(source.x) % 16 == 0};
  }
};

template <DType kType>
static void segments_f32(const SegmentList& s, const RowSource& source, const Gpu& gpu) {
  if (source.tiles != nullptr) return launch_f32<kType, kExpertTileRows>(s, source, SourceRows{source}, gpu);
  if (source.rows <= 4) return launch_f32<kType, 4>(s, source, SourceRows{source}, gpu);
  launch_f32_rows<kType, 16>(s, source, SourceRows{source}, gpu);
}

template <DType kType, int kTiles>
static void launch_few(SegmentList s, const RowSource& source, const RoundedRows& r, const Gpu& gpu) {
  const unsigned grid = count_blocks(s, source, 8 * kTiles, 16);
  s.early = static_cast<uint32_t>(gpu.multiprocessors * kEarlyBlocks);
  launch(linear_few_kernel<kType, kTiles>, grid, kLinearThreads, 0, gpu, s, source, r);
}

template <DType kType>
static void segments_bf16(SegmentList s, const RowSource& source, const RoundedRows& r, const Gpu& gpu) {
  if (source.tiles != nullptr) return launch_few<kType, kExpertTileRows / 8>(s, source, r, gpu);
  if (source.rows <= 8) return launch_few<kType, 1>(s, source, r, gpu);
  if (source.rows <= 16) return launch_few<kType, 2>(s, source, r, gpu);
  const unsigned grid = count_blocks(s, source, kManyRows, kManyRows);
  // Blocks of 128 by 128 would leave multiprocessors idle, or be half empty.
  if (source.rows <= kManyRows / 2 || static_cast<int32_t>(grid) < gpu.multiprocessors)
    return launch_few<kType, 4>(s, source, r, gpu);
  launch(linear_many_kernel<kType>, grid, kManyThreads, many_bytes<kType>(), gpu, s, source, r);
}

// Blocks that stay and take `pairs` pairs of tiles, a cluster each at a time.
static unsigned pair_blocks(int64_t pairs, const Gpu& gpu) {
  const int64_t clusters = std::max(gpu.multiprocessors / kPair, 1);
  return static_cast<unsigned>(kPair * std::min(pairs, clusters));
}

// The segments, all of bf16; x in natural order.
static void segments_hopper(SegmentList s, const RowSource& source, const RoundedRows& r, const Gpu& gpu) {
  HopperArgs a{};
  const int64_t pairs = count_blocks(s, source, kPair * kWideRows, kWideWeights);
  const bool split = source.rows <= kSplitRows || 2 * kPair * pairs < gpu.multiprocessors;
  const int64_t tiles = split ? count_blocks(s, source, kSplitRows, kSplitWeights) : pairs;
  a.x = tensor_map(r.x, source.rows, r.groups * kGroup, r.groups * kGroup * 2, split ? kSplitRows : kWideRows);
  for (int32_t i = 0; i < s.count; i++)
    a.w[i] = tensor_map(s.segment[i].data, s.segment[i].rows, s.segment[i].cols, s.segment[i].row_bytes,
                        split ? kSplitWeights : kWideWeights / kPair);
  a.list = s;
  a.rows = source.rows;
  a.groups = r.groups;
  if (split)
    return launch_clusters(linear_split_kernel, static_cast<unsigned>(tiles * kSlices), kSplitThreads,
                           sizeof(SplitShared), kSlices, gpu, a);
  launch_clusters(linear_wide_kernel, pair_blocks(pairs, gpu), kWideThreads, sizeof(WideShared), kPair, gpu, a);
}

// The segments, all of a type that linear_codes.cuh has; x and parts as it wants them.
template <DType kType>
static void segments_codes(const SegmentList& s, const RowSource& source, const RoundedRows& r, const Gpu& gpu) {
  CodesArgs a{};
  a.list = s;
  a.rows = source.rows;
  a.groups = static_cast<int32_t>(r.groups);
  const int64_t pairs = count_blocks(a.list, source, kCodesRows, kPair * kCodesWeights);
  a.x = tensor_map(r.x, a.rows, r.groups * kGroup, r.groups * kGroup * 2, kCodesPart);
  if constexpr (Fragments<kType>::kMinima == Minima::kOfUnit) {
    const int64_t cols = r.groups / Fragments<kType>::kGroups * kPartsOfUnit;
    a.parts = tensor_map(r.parts, a.rows, cols, cols * 2, kCodesPart);
  }
  launch_clusters(linear_codes_kernel<kType>, pair_blocks(pairs, gpu), kCodesThreads, sizeof(CodesShared), kPair, gpu,
                  a);
}

// The rows in the form that a type wants.
static RoundedRows rounded_rows(const RoundedForms& f, DType type, const uint8_t* workspace) {
  const auto at = [&](int64_t place) { return place < 0 ? nullptr : workspace + place; };
  const bool codes = f.codes && type_form(type).codes;
  return {reinterpret_cast<const uint4*>(at(type == kBF16 && f.hopper ? f.linear
                                            : codes                   ? f.stepped
                                                                      : f.dealt)),
          reinterpret_cast<const float*>(at(f.sums)),
          reinterpret_cast<const uint4*>(at(codes ? f.stepped_parts : f.parts)), f.groups};
}

// Segments of one type.
static void segments_run(const OpCall& call, const Gpu& gpu, const RowSource& source, const SegmentList& s, DType type,
                         const RoundedForms& f, const uint8_t* workspace) {
  if (linear_compute(call.compute, type) == kComputeF32)
    return with_weight_type(type, [&]<DType kType>() { segments_f32<kType>(s, source, gpu); });
  const RoundedRows r = rounded_rows(f, type, workspace);
  if (type == kBF16 && f.hopper) return segments_hopper(s, source, r, gpu);
  with_weight_type(type, [&]<DType kType>() {
    if constexpr (codes_kernel<kType>())
      if (f.codes) return segments_codes<kType>(s, source, r, gpu);
    if constexpr (kType != kF32 && kType != kF16) segments_bf16<kType>(s, source, r, gpu);
  });
}

static RoundTarget target_of(const RoundedForms& f, uint8_t* workspace) {
  const auto at = [&](int64_t place) { return place < 0 ? nullptr : workspace + place; };
  return {reinterpret_cast<uint32_t*>(at(f.linear)),
          reinterpret_cast<uint32_t*>(at(f.dealt)),
          reinterpret_cast<uint32_t*>(at(f.stepped)),
          reinterpret_cast<float*>(at(f.sums)),
          reinterpret_cast<uint16_t*>(at(f.parts)),
          reinterpret_cast<uint16_t*>(at(f.stepped_parts)),
          f.groups,
          false};
}

// Segments of equal type in one launch.
void multiply(const OpCall& call, const Gpu& gpu, const RowSource& source, const Product* products, int32_t count,
              uint8_t* workspace, bool rounded) {
  const DeviceMatrix* weights[3];
  for (int32_t p = 0; p < count; p++) weights[p] = products[p].weight;
  const int64_t cols = weights[0]->cols;
  Gpu own = gpu;
  if (source.tiles != nullptr) own.hopper = {};
  const RoundedForms f = rounded_forms(call, source.rows, cols, weights, count, own);
  const RoundTarget target = target_of(f, workspace);
  if (target.wanted() && !rounded)
    launch(round_kernel, blocks_of(source.rows * f.groups * kQuartersOfGroup, 128), 128, 0, gpu, source, source.rows,
           static_cast<int>(cols), cols % 4 == 0 && source.stride % 4 == 0, target);
  for (int32_t t = 0; t < kDTypeCount; t++) {
    const auto type = static_cast<DType>(t);
    SegmentList list{};
    for (int32_t p = 0; p < count; p++)
      for (int32_t i = 0; i < weights[p]->segment_count; i++) {
        const MatrixSegment& m = weights[p]->segments[i];
        if (m.type != type || m.rows == 0) continue;
        SegmentArgs& s = list.segment[list.count++];
        s = segment_args(m, cols, products[p].bias, products[p].y, products[p].y_stride);
        if (source.tiles != nullptr) s.y = products[p].y;  // an expert's own columns begin at 0
        if (list.count < kMaxSegments) continue;
        segments_run(call, gpu, source, list, type, f, workspace);
        list.count = 0;
      }
    if (list.count > 0) segments_run(call, gpu, source, list, type, f, workspace);
  }
}

const DeviceMatrix& linear_matrix(const OpCall& call, int32_t p) {
  return *static_cast<const DeviceMatrix*>(call.in[1 + 2 * p].data);
}

// The matrices of a call of linear.
struct LinearMatrices {
  const DeviceMatrix* of[3];
  explicit LinearMatrices(const OpCall& call) {
    for (int32_t p = 0; p < call.out_count; p++) of[p] = &linear_matrix(call, p);
  }
};

static RoundedForms linear_forms(const OpCall& call, const Gpu& gpu) {
  return rounded_forms(call, call.in[0].dim[0], call.in[0].dim[1], LinearMatrices(call).of, call.out_count, gpu);
}

int64_t linear_workspace(const OpCall& call) {
  return multiply_workspace(call, call.in[0].dim[0], call.in[0].dim[1], LinearMatrices(call).of, call.out_count);
}

RoundedRows linear_rows(const OpCall& call, DType type, const Gpu& gpu) {
  return rounded_rows(linear_forms(call, gpu), type, call.workspace);
}

RoundTarget linear_target(const OpCall& call, const Gpu& gpu, bool only_reader) {
  RoundTarget target = target_of(linear_forms(call, gpu), call.workspace);
  target.alone = only_reader && target.wanted();
  for (int32_t p = 0; p < call.out_count; p++)
    for (int32_t i = 0; i < linear_matrix(call, p).segment_count; i++)
      if (linear_compute(call.compute, linear_matrix(call, p).segments[i].type) != kComputeBF16) target.alone = false;
  return target;
}

static void linear_products(const OpCall& call, const Gpu& gpu, bool rounded) {
  Product products[3];
  for (int32_t p = 0; p < call.out_count; p++)
    products[p] = {&linear_matrix(call, p), float_input(call, 2 + 2 * p), float_output(call, p), call.out[p].dim[1]};
  RowSource source{};
  source.x = float_input(call, 0);
  source.stride = call.in[0].dim[1];
  source.rows = call.in[0].dim[0];
  if (source.rows > 0) multiply(call, gpu, source, products, call.out_count, call.workspace, rounded);
}

void linear_of_rows(const OpCall& call, const Gpu& gpu) { linear_products(call, gpu, false); }
void linear_of_rounded(const OpCall& call, const Gpu& gpu) { linear_products(call, gpu, true); }

extern const CudaOp linear_op;
const CudaOp linear_op = {linear_of_rows, linear_workspace, linear_compute};

}  // namespace verdant::cuda
