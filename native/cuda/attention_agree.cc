// Whether both ways to attend give the same bits on the GPU at hand.
#include <vector>

#include "cuda/agree.h"
#include "cuda/op.h"
#include "ops/attention.h"
#include "ops/kv_write.h"

namespace verdant::cuda {

extern const CudaOp attention_op;

namespace {

// Two sequences of more rows than a tile has, the first one in the middle of its chunks.
constexpr int64_t kHeads = 4, kKvHeads = 2, kColumns = 20, kBlocks = 40, kLayers = 2;
const std::vector<int32_t> kStarts = {0, 150, 250}, kKeys = {640, 100};

struct Case {
  int64_t head_dim, window;
};

Tensor tensor_of(const DeviceBuffer& data, DType type, std::vector<int64_t> dims) {
  Tensor t{data.data(), type, static_cast<int32_t>(dims.size()), {}};
  for (size_t i = 0; i < dims.size(); i++) t.dim[i] = dims[i];
  return t;
}

std::vector<uint16_t> random_pages(int64_t count, Numbers& numbers) {
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = numbers.near_one();
  return as_bf16(x);
}

bool agrees(const Case& c, const Stream& stream) {
  Numbers numbers;
  const int64_t rows = kStarts.back(), width = kHeads * c.head_dim;
  const int64_t block = kLayers * kKvHeads * kv_head_bytes(kBF16, c.head_dim, true) / 2;
  std::vector<float> q(static_cast<size_t>(rows * width));
  for (float& v : q) v = numbers.near_one();
  std::vector<int32_t> table(static_cast<size_t>(2 * kColumns)), positions;
  for (size_t i = 0; i < table.size(); i++) table[i] = static_cast<int32_t>((i * 27 + 5) % kBlocks);
  for (size_t s = 0; s < kKeys.size(); s++)
    for (int32_t i = kStarts[s]; i < kStarts[s + 1]; i++) positions.push_back(kKeys[s] - kStarts[s + 1] + i);
  const DeviceBuffer x = uploaded(q, stream), keys = uploaded(random_pages(kBlocks * block, numbers), stream),
                     values = uploaded(random_pages(kBlocks * block, numbers), stream),
                     first = uploaded(kStarts, stream), blocks = uploaded(table, stream),
                     places = uploaded(positions, stream);
  const AttentionAttrs attrs = {0, kHeads, kKvHeads, c.head_dim, 1, 1, c.window, 0.2, 0.0};
  OpCall call{};
  call.attrs = &attrs;
  call.in_count = kAttPositions + 1;
  call.out_count = 1;
  call.in[kAttQ] = tensor_of(x, kF32, {rows, width});
  call.in[kAttK] = tensor_of(keys, kBF16, {kBlocks, block});
  call.in[kAttV] = tensor_of(values, kBF16, {kBlocks, block});
  call.in[kAttStarts] = tensor_of(first, kI32, {3});
  call.in[kAttTable] = tensor_of(blocks, kI32, {2, kColumns});
  call.in[kAttPositions] = tensor_of(places, kI32, {rows});
  const DeviceBuffer workspace(attention_op.workspace(call)), y(rows * width * 4);
  call.workspace = workspace.data();
  call.out[0] = tensor_of(y, kF32, {rows, width});
  std::vector<float> found[2];
  for (const bool hopper : {false, true}) {
    forget(y, stream);
    attention_op.run(call, Gpu{1, 0, stream, {false, false, hopper}});
    found[hopper].resize(q.size());
    download(found[hopper], y, stream);
  }
  return same_bits(found[0], found[1]);
}

}  // namespace

bool attention_agrees() {
  const Stream stream;
  for (const Case& c : {Case{128, 0}, Case{64, 0}, Case{128, 200}})
    if (!agrees(c, stream)) return false;
  return true;
}

}  // namespace verdant::cuda
