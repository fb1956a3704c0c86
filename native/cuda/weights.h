// Weights in device memory: matrices row by row in stored form, blocks as their fields; all others as floats.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "core/device.h"
#include "cuda/memory.h"
#include "cuda/op.h"

namespace verdant::cuda {

constexpr int32_t kMaxFields = 5;

// A block type's fields in the order of its struct in weights/, which follow each other without gaps: bytes of each in
// a block, 0: none. In a row, field f of all blocks stands before field f + 1 of all.
struct BlockLayout {
  int32_t block;  // weights
  int32_t bytes[kMaxFields];
};

constexpr BlockLayout block_layout(DType type) {
  switch (type) {
    case kF32:
      return {1, {4}};
    case kF16:
      return {1, {2}};
    case kBF16:
      return {1, {2}};
    case kQ8_0:
      return {32, {2, 32}};
    case kQ4_0:
      return {32, {2, 16}};
    case kQ4_1:
      return {32, {4, 16}};
    case kQ5_0:
      return {32, {2, 4, 16}};
    case kQ5_1:
      return {32, {4, 4, 16}};
    case kQ2_K:
      return {256, {16, 64, 4}};
    case kQ3_K:
      return {256, {32, 64, 12, 2}};
    case kQ4_K:
      return {256, {4, 12, 128}};
    case kQ5_K:
      return {256, {4, 12, 32, 128}};
    case kQ6_K:
      return {256, {128, 64, 16, 2}};
    case kIQ4_NL:
      return {32, {2, 16}};
    case kIQ4_XS:
      return {256, {2, 2, 4, 128}};
    default:
      return {0, {}};
  }
}

// Where field f of a row with this many blocks begins, each field padded to 16 bytes.
constexpr int64_t field_offset(const BlockLayout& layout, int32_t f, int64_t blocks) {
  int64_t at = 0;
  for (int32_t i = 0; i < f; i++) at += (layout.bytes[i] * blocks + 15) / 16 * 16;
  return at;
}
// Bytes of a row of `cols` weights on the device.
constexpr int64_t device_row_bytes(DType type, int64_t cols) {
  const BlockLayout layout = block_layout(type);
  return field_offset(layout, kMaxFields, (cols + layout.block - 1) / layout.block);
}

// Owns a matrix in device memory; `bytes` is its size.
struct MatrixHolder {
  DeviceMatrix matrix{};
  std::vector<MatrixSegment> segments;
  DeviceBuffer buffer;
  int64_t bytes = 0;
};

// What a thread uploads with.
struct UploadWorker {
  std::vector<uint8_t> stored;
  PinnedBuffer pinned[2];  // one is filled while the other is copied
  Stream stream;           // goes first: it waits for the copies
  int turn = 0;
};

// The workers of a compile: pinned memory is slow to get, so they are kept from one weight to the next.
class UploadWorkers {
 public:
  // For GPU `device`, the same one in all calls. When it is let go it waits for its copies and is free again.
  std::shared_ptr<UploadWorker> take(int32_t device);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<UploadWorker>> free_;
};

// Uploads a weight (rows, cols) to GPU `device` by up to `threads` threads, or finds it there. Adds stored bytes to
// control.bytes_done. Throws ERR_ABORTED when cancelled, ERR_OUT_OF_MEMORY, and what reading throws.
std::shared_ptr<MatrixHolder> upload_matrix(int32_t device, const WeightExprPtr& expr, int32_t threads,
                                            UploadWorkers& workers, CompileControl& control);

// All elements as floats.
std::shared_ptr<DeviceBuffer> upload_floats(const WeightExprPtr& expr);

}  // namespace verdant::cuda
