// Programs of whole decoders, as a Llama checkpoint gives them.
#pragma once
#include <string>

#include "cuda/check/maker.h"

namespace verdant::check {

struct DecoderShape {
  std::string name;
  int64_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab;
};

struct DecoderOptions {
  DType type, head;     // of the layers' matrices; of the table and the head, which are one matrix
  int64_t context;      // tokens of each sequence that are in the cache already
  std::string cache;    // f32, bf16, q8
  int64_t distinct;     // layers with weights of their own; the others use these again
  bool sampled = true;  // the outputs are sampled ids, else the logits
};

// Units are sequences; the last row of each gives logits.
void decoder(Maker& m, const DecoderShape& shape, const DecoderOptions& options);
// Bytes of weights, as stored, and of keys and values that a step reads.
int64_t layer_bytes(const DecoderShape& shape, DType type);
int64_t weight_bytes(const DecoderShape& shape, const DecoderOptions& options);
int64_t cache_bytes(const DecoderShape& shape, const DecoderOptions& options, int64_t sequences);
// Multiplications of the matrices, twice, for each row.
double row_flops(const DecoderShape& shape);

}  // namespace verdant::check
