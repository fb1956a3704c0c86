// What the host does for the kernels of hopper.cuh.
#pragma once
#include <cuda_runtime.h>
#if !defined(VERDANT_EMULATED)
#include <cuda.h>
#endif

#include <cstdint>

#include "cuda/op.h"

namespace verdant::cuda {

constexpr int kTileBytes = 128;  // of a row of a whole tile in shared memory: 64 bf16

#if defined(VERDANT_EMULATED)
// Rows of bf16 in device memory and the tile of them that a copy brings.
struct alignas(64) TensorMap {
  const uint8_t* data;
  int64_t rows, cols, row_bytes;
  int tile_rows, tile_bytes;  // of a row
};
#else
using TensorMap = CUtensorMap;
#endif

// Tiles of tile_rows <= 256 rows by 64 or 32 columns of bf16 rows (rows, cols), row_bytes and data multiples of 16.
// What lies outside of the rows and columns arrives as zeros. In shared memory a tile has rows of tile_bytes = 128 or
// 64 bytes, whose 16-byte parts are turned: part p of row r lies at p ^ r % 8, or p ^ r / 2 % 4; it begins at a
// multiple of eight rows. Throws ERR_DEVICE.
TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t row_bytes, int tile_rows,
                     int tile_bytes = kTileBytes);

// Which kernels of hopper.cuh are used on the calling thread's GPU: its compute capability is 9.0, they gave the bits
// of the portable ones when they were first asked for, and VERDANT_CUDA_KERNELS is not `portable`. Waits for the GPU
// the first time.
HopperKernels hopper_kernels();

}  // namespace verdant::cuda
