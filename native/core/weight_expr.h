// Weight expressions: where a weight comes from and how it is rearranged while it is packed.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/op.h"
#include "core/weight_types.h"

namespace verdant {

struct WeightExpr;
using WeightExprPtr = std::shared_ptr<const WeightExpr>;

// Identity of a file when its header was read; a different one later is ERR_FILE_CHANGED.
struct FileIdentity {
  std::string path;
  uint64_t size = 0;
  uint64_t inode = 0;
  int64_t mtime_ns = 0;
};

struct WeightExpr {
  enum class Kind { file, bytes, random, transpose, slice, concat_rows, permute_rows, cast, taps, weight_norm };
  Kind kind = Kind::file;
  DType dtype = kF32;
  int64_t rows = 0;  // a vector of n is one row of n columns
  int64_t cols = 0;

  std::shared_ptr<const FileIdentity> file;  // file
  uint64_t offset = 0;
  std::string tensor;                          // name for errors
  std::shared_ptr<std::vector<uint8_t>> data;  // bytes
  uint64_t seed = 0;                           // random: near normal(mean, std)
  double mean = 0, std = 0;
  std::vector<WeightExprPtr> of;  // transforms
  int64_t begin = 0;              // slice: first row
  int64_t heads = 0;              // permute_rows: GGUF's interleaved q/k rows back to halves, per head
  int64_t kernel = 0;             // taps: columns (channels, kernel) to (kernel, channels)
};

// Canonical text of an expression: equal texts mean equal bits. Key of the process-wide cache.
std::string weight_key(const WeightExpr& expr);

// The parts of a concatenation, however nested, in order; equal neighbouring types joined. Throws ERR_GRAPH where their
// rows or columns do not fit.
std::vector<WeightExprPtr> segment_exprs(const WeightExprPtr& expr);
// Bytes of all parts in stored form.
int64_t stored_bytes(const WeightExpr& expr);
// All elements in row-major order.
std::vector<float> decode_all(const WeightExprPtr& expr);

// Evaluates rows of an expression in stored form. Thread-safe once made.
class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual void read(int64_t row, int64_t count, uint8_t* out) const = 0;
};
std::unique_ptr<RowReader> open_rows(const WeightExprPtr& expr);

}  // namespace verdant
