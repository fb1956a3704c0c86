// What the CUDA device knows of an op: how its work is put on a stream.
#pragma once
#include <cuda_runtime.h>

#include "core/op.h"
#include "ops/list.h"

namespace verdant::cuda {

constexpr int64_t kTickets = 512;

// Which kernels of hopper.cuh a GPU takes: linears of bf16 weights, of block weights, attention.
struct HopperKernels {
  bool linear = false, codes = false, attention = false;
};

// The GPU that a call runs on.
struct Gpu {
  int32_t multiprocessors;
  int64_t shared_bytes;  // of a block, at most
  cudaStream_t stream;
  HopperKernels hopper = {};
  bool dependent_launch = false;  // kernels begin before the one before has ended, see wait_for_predecessors
  unsigned* tickets = nullptr;    // kTickets zeros, which kernels of the stream count in and leave as zeros; or null
};

// Whether the calling thread's GPU takes kernels that way: it runs code for 9.0 or newer, its driver captures them into
// graphs, and VERDANT_CUDA_DEPENDENT_LAUNCH is not `0`.
bool dependent_launch();

// Rows of a weight matrix of one type, in device memory, each as units.h says.
struct MatrixSegment {
  DType type;
  int64_t row_begin;
  int64_t rows;
  const uint8_t* data;
  int64_t row_bytes;  // from row to row, a multiple of 16
};

// A weight matrix (rows, cols): what `data` of a packed tensor points to, in host memory.
struct DeviceMatrix {
  int64_t rows;
  int64_t cols;
  int32_t segment_count;
  const MatrixSegment* segments;
};

// An op's way onto the GPU. Tensors of a call lie in device memory (packed weights: a DeviceMatrix in host memory);
// sizes are the host's. Content of tensors is only known on the device: `run` looks at sizes and attributes alone,
// enqueues kernels on gpu.stream and waits for nothing, so that a step can be captured and run again.
struct CudaOp {
  void (*run)(const OpCall& call, const Gpu& gpu);
  int64_t (*workspace)(const OpCall& call) = nullptr;  // bytes of call.workspace; null: none
  // Ops with `compute`: what is used where `wanted` was asked for of a type, kComputeCount: it cannot be.
  Compute (*compute)(Compute wanted, DType type) = nullptr;
  // Other ops that multiply: what is used.
  Compute (*used)(const OpCall& call) = nullptr;
};

}  // namespace verdant::cuda
