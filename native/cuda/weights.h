// Weights in device memory: matrices row by row as units.h says; all others as floats.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "core/device.h"
#include "cuda/memory.h"
#include "cuda/op.h"
#include "cuda/units.h"

namespace verdant::cuda {

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
