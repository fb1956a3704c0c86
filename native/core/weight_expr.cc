#include "core/weight_expr.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/file_reader.h"

namespace verdant {
namespace {

std::string shape_text(const WeightExpr& e) {
  return std::string(dtype_name(e.dtype)) + " (" + std::to_string(e.rows) + ", " + std::to_string(e.cols) + ")";
}

[[noreturn]] void fail(const WeightExpr& e, const std::string& what) {
  throw Error("ERR_GRAPH", "weight " + (e.tensor.empty() ? "" : e.tensor + " ") + shape_text(e) + ": " + what);
}

// Readers see any rectangle: rows and columns, columns in whole blocks. `out` is (count, cols) in stored form.
class Reader : public RowReader {
 public:
  explicit Reader(const WeightExpr& e) : expr_(e) {}
  void read(int64_t row, int64_t count, uint8_t* out) const final { read_block(row, count, 0, expr_.cols, out); }
  virtual void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const = 0;

 protected:
  const WeightExpr& expr_;  // kept alive by the root
};
using ReaderPtr = std::unique_ptr<Reader>;

class FileRows final : public Reader {
 public:
  explicit FileRows(const WeightExpr& e) : Reader(e), file_(e.file) {
    const uint64_t bytes = static_cast<uint64_t>(e.rows * row_bytes(e.dtype, e.cols));
    if (e.offset > e.file->size || bytes > e.file->size - e.offset)
      throw Error("ERR_FILE_CORRUPT", e.file->path + ": tensor " + e.tensor + ": ends beyond the file; expected " +
                                          std::to_string(bytes) + " bytes at offset " + std::to_string(e.offset) +
                                          "; found a file of " + std::to_string(e.file->size) + " bytes");
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    const int64_t stride = row_bytes(expr_.dtype, expr_.cols), part = row_bytes(expr_.dtype, cols);
    uint64_t at = expr_.offset + static_cast<uint64_t>(row * stride + row_bytes(expr_.dtype, col));
    if (part == stride) return file_.read(at, static_cast<uint64_t>(count * stride), out, expr_.tensor);
    for (int64_t r = 0; r < count; r++, at += static_cast<uint64_t>(stride))
      file_.read(at, static_cast<uint64_t>(part), out + r * part, expr_.tensor);
  }

 private:
  FileReader file_;
};

class BytesRows final : public Reader {
 public:
  explicit BytesRows(const WeightExpr& e) : Reader(e) {
    const uint64_t need = e.offset + static_cast<uint64_t>(e.rows * row_bytes(e.dtype, e.cols));
    if (e.data == nullptr || e.data->size() < need)
      fail(e, "expected " + std::to_string(need) + " bytes; found " + std::to_string(e.data ? e.data->size() : 0));
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    const int64_t stride = row_bytes(expr_.dtype, expr_.cols), part = row_bytes(expr_.dtype, cols);
    const uint8_t* in = expr_.data->data() + expr_.offset + row * stride + row_bytes(expr_.dtype, col);
    for (int64_t r = 0; r < count; r++) std::memcpy(out + r * part, in + r * stride, static_cast<size_t>(part));
  }
};

// splitmix64 (Steele, Lea, Flood 2014) of a counter.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Normal numbers by Box and Muller, two to a hash: a function of (seed, element index) alone.
class RandomRows final : public Reader {
 public:
  explicit RandomRows(const WeightExpr& e) : Reader(e), seed_(mix(e.seed)) {}
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    std::vector<float> values(static_cast<size_t>(cols));
    for (int64_t r = 0; r < count; r++, out += row_bytes(expr_.dtype, cols)) {
      fill(static_cast<uint64_t>((row + r) * expr_.cols + col), cols, values.data());
      encode_from_f32(expr_.dtype, values.data(), cols, out);
    }
  }

 private:
  // The sum of four uniform numbers, near enough to normal, and the same bits everywhere.
  void fill(uint64_t first, int64_t count, float* out) const {
    const float mean = static_cast<float>(expr_.mean), scale = static_cast<float>(expr_.std * 1.7320508 / 65536);
    for (int64_t i = 0; i < count; i++) {
      const uint64_t bits = mix(seed_ ^ (first + static_cast<uint64_t>(i)));
      const int sum = static_cast<int>((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
      out[i] = mean + scale * static_cast<float>(sum - 2 * 65535);
    }
  }

  uint64_t seed_;
};

class TransposedRows final : public Reader {
 public:
  TransposedRows(const WeightExpr& e, ReaderPtr of) : Reader(e), of_(std::move(of)) {
    if (weight_type(e.dtype).block != 1) fail(e, "a type of blocks cannot be transposed");
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    const int64_t size = weight_type(expr_.dtype).bytes;
    const int64_t strip = std::max<int64_t>(1, (256 << 10) / (count * size));  // rows of the source at a time
    std::vector<uint8_t> in(static_cast<size_t>(std::min(strip, cols) * count * size));
    for (int64_t c = 0; c < cols; c += strip) {
      const int64_t n = std::min(strip, cols - c);
      of_->read_block(col + c, n, row, count, in.data());
      for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < n; i++)
          std::memcpy(out + (r * cols + c + i) * size, in.data() + (i * count + r) * size, static_cast<size_t>(size));
    }
  }

 private:
  ReaderPtr of_;
};

class SlicedRows final : public Reader {
 public:
  SlicedRows(const WeightExpr& e, ReaderPtr of) : Reader(e), of_(std::move(of)) {}
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    of_->read_block(expr_.begin + row, count, col, cols, out);
  }

 private:
  ReaderPtr of_;
};

class ConcatRows final : public Reader {
 public:
  ConcatRows(const WeightExpr& e, std::vector<ReaderPtr> of) : Reader(e), of_(std::move(of)) {}
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    int64_t base = 0;
    for (size_t i = 0; i < of_.size() && count > 0; base += expr_.of[i]->rows, i++) {
      const int64_t rows = expr_.of[i]->rows;
      if (row >= base + rows) continue;
      const int64_t n = std::min(count, base + rows - row);
      of_[i]->read_block(row - base, n, col, cols, out);
      out += n * row_bytes(expr_.dtype, cols);
      row += n;
      count -= n;
    }
  }

 private:
  std::vector<ReaderPtr> of_;
};

// GGUF writes rows 2 i and 2 i + 1 of a head for its rows i and i + head_dim / 2.
class PermutedRows final : public Reader {
 public:
  PermutedRows(const WeightExpr& e, ReaderPtr of) : Reader(e), of_(std::move(of)) {
    if (e.heads <= 0 || e.rows % (2 * e.heads) != 0)
      fail(e, "expected rows that divide into " + std::to_string(e.heads) + " heads of even size");
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    const int64_t part = row_bytes(expr_.dtype, cols), head_dim = expr_.rows / expr_.heads, end = row + count;
    std::vector<uint8_t> head(static_cast<size_t>(head_dim * part));
    while (row < end) {
      const int64_t base = row / head_dim * head_dim, stop = std::min(end, base + head_dim);
      const auto source = [&](int64_t r) { return 2 * (r % (head_dim / 2)) + r / (head_dim / 2); };
      int64_t low = head_dim, high = 0;
      for (int64_t r = row; r < stop; r++) {
        low = std::min(low, source(r - base));
        high = std::max(high, source(r - base) + 1);
      }
      of_->read_block(base + low, high - low, col, cols, head.data());
      for (; row < stop; row++, out += part)
        std::memcpy(out, head.data() + (source(row - base) - low) * part, static_cast<size_t>(part));
    }
  }

 private:
  ReaderPtr of_;
};

class CastRows final : public Reader {
 public:
  CastRows(const WeightExpr& e, ReaderPtr of) : Reader(e), of_(std::move(of)) {}
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    // Columns of the source come in its own blocks.
    const DType from = expr_.of[0]->dtype;
    const int64_t block = weight_type(from).block, skip = col % block, size = row_bytes(expr_.dtype, cols);
    const int64_t width = (skip + cols + block - 1) / block * block, stride = row_bytes(from, width);
    const int64_t strip = std::max<int64_t>(1, (256 << 10) / std::max<int64_t>(1, width * 4));
    std::vector<uint8_t> in(static_cast<size_t>(std::min(strip, count) * stride));
    std::vector<float> values(static_cast<size_t>(width));
    for (int64_t r = 0; r < count; r++) {
      if (r % strip == 0) of_->read_block(row + r, std::min(strip, count - r), col - skip, width, in.data());
      decode_to_f32(from, in.data() + r % strip * stride, width, values.data());
      encode_from_f32(expr_.dtype, values.data() + skip, cols, out + r * size);
    }
  }

 private:
  ReaderPtr of_;
};

// Columns (channels, kernel), as a convolution is stored, to (kernel, channels).
class TapRows final : public Reader {
 public:
  TapRows(const WeightExpr& e, ReaderPtr of) : Reader(e), of_(std::move(of)) {
    if (weight_type(e.dtype).block != 1) fail(e, "the taps of a type of blocks cannot be reordered");
    if (e.kernel < 1 || e.cols % e.kernel != 0)
      fail(e, "expected columns that divide into " + std::to_string(e.kernel) + " taps");
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    const size_t size = static_cast<size_t>(weight_type(expr_.dtype).bytes);
    const int64_t kernel = expr_.kernel, channels = expr_.cols / kernel;
    std::vector<uint8_t> in(static_cast<size_t>(expr_.cols) * size);
    for (int64_t r = 0; r < count; r++) {
      of_->read_block(row + r, 1, 0, expr_.cols, in.data());
      for (int64_t c = col; c < col + cols; c++, out += size)
        std::memcpy(out, in.data() + static_cast<size_t>(c % channels * kernel + c / channels) * size, size);
    }
  }

 private:
  ReaderPtr of_;
};

// of[0] is v (rows, channels * kernel), of[1] is g (1, kernel): v * g / |v| per tap, the norm over rows and channels.
// torch.nn.utils.weight_norm with dim 2.     Salimans and Kingma 2016
class NormedRows final : public Reader {
 public:
  NormedRows(const WeightExpr& e, ReaderPtr v, ReaderPtr g) : Reader(e), v_(std::move(v)) {
    const int64_t kernel = e.of[1]->cols;
    std::vector<float> row(static_cast<size_t>(e.cols)), scale(static_cast<size_t>(kernel));
    std::vector<double> squares(static_cast<size_t>(kernel));
    for (int64_t r = 0; r < e.rows; r++) {
      v_->read_block(r, 1, 0, e.cols, reinterpret_cast<uint8_t*>(row.data()));
      for (int64_t c = 0; c < e.cols; c++)
        squares[static_cast<size_t>(c % kernel)] +=
            static_cast<double>(row[static_cast<size_t>(c)]) * row[static_cast<size_t>(c)];
    }
    g->read_block(0, 1, 0, kernel, reinterpret_cast<uint8_t*>(scale.data()));
    for (size_t j = 0; j < scale.size(); j++) scale_.push_back(scale[j] / std::sqrt(squares[j]));
  }
  void read_block(int64_t row, int64_t count, int64_t col, int64_t cols, uint8_t* out) const override {
    v_->read_block(row, count, col, cols, out);
    for (int64_t i = 0; i < count * cols; i++, out += sizeof(float)) {
      float x;
      std::memcpy(&x, out, sizeof x);
      x = static_cast<float>(x * scale_[static_cast<size_t>(col + i % cols) % scale_.size()]);
      std::memcpy(out, &x, sizeof x);
    }
  }

 private:
  ReaderPtr v_;
  std::vector<double> scale_;
};

void check_norm(const WeightExpr& e) {
  const WeightExpr &v = *e.of[0], &g = *e.of[1];
  if (e.dtype != kF32 || v.dtype != kF32 || g.dtype != kF32) fail(e, "a weight norm is of f32 parts");
  if (v.rows != e.rows || v.cols != e.cols || g.rows != 1 || g.cols < 1 || e.cols % g.cols != 0)
    fail(e, "a weight norm needs a part like itself and a factor for each tap; found " + shape_text(v) + " and " +
                shape_text(g));
}

void check_parts(const WeightExpr& e) {
  using Kind = WeightExpr::Kind;
  const bool leaf = e.kind == Kind::file || e.kind == Kind::bytes || e.kind == Kind::random;
  if (leaf                          ? !e.of.empty()
      : e.kind == Kind::concat_rows ? e.of.empty()
                                    : e.of.size() != (e.kind == Kind::weight_norm ? 2 : 1))
    fail(e, "wrong number of parts");
  if (e.rows < 0 || e.cols < 0 || e.rows > (int64_t{1} << 42) / std::max<int64_t>(1, e.cols))
    fail(e, "impossible size");
  if (e.cols % weight_type(e.dtype).block != 0)
    fail(e, "expected columns in blocks of " + std::to_string(weight_type(e.dtype).block));
  if (leaf) return;
  if (e.kind == Kind::weight_norm) return check_norm(e);
  int64_t rows = 0;
  for (const WeightExprPtr& p : e.of) {
    if (e.kind != Kind::cast && p->dtype != e.dtype) fail(e, "a part has another type: " + shape_text(*p));
    const bool fits = e.kind == Kind::transpose ? p->rows == e.cols && p->cols == e.rows : p->cols == e.cols;
    if (!fits) fail(e, "a part has another width: " + shape_text(*p));
    rows += p->rows;
  }
  if (e.kind == Kind::slice ? e.begin < 0 || e.begin > rows - e.rows : e.kind != Kind::transpose && rows != e.rows)
    fail(e, "its parts have " + std::to_string(rows) + " rows");
}

ReaderPtr open_reader(const WeightExpr& e) {
  using Kind = WeightExpr::Kind;
  check_parts(e);
  std::vector<ReaderPtr> of;
  for (const WeightExprPtr& p : e.of) of.push_back(open_reader(*p));
  switch (e.kind) {
    case Kind::file:
      return std::make_unique<FileRows>(e);
    case Kind::bytes:
      return std::make_unique<BytesRows>(e);
    case Kind::random:
      return std::make_unique<RandomRows>(e);
    case Kind::transpose:
      return std::make_unique<TransposedRows>(e, std::move(of[0]));
    case Kind::slice:
      return std::make_unique<SlicedRows>(e, std::move(of[0]));
    case Kind::concat_rows:
      return std::make_unique<ConcatRows>(e, std::move(of));
    case Kind::permute_rows:
      return std::make_unique<PermutedRows>(e, std::move(of[0]));
    case Kind::cast:
      return std::make_unique<CastRows>(e, std::move(of[0]));
    case Kind::taps:
      return std::make_unique<TapRows>(e, std::move(of[0]));
    case Kind::weight_norm:
      return std::make_unique<NormedRows>(e, std::move(of[0]), std::move(of[1]));
  }
  fail(e, "unknown kind of expression");
}

class RootReader final : public RowReader {
 public:
  explicit RootReader(const WeightExprPtr& e) : expr_(e), reader_(open_reader(*e)) {}
  void read(int64_t row, int64_t count, uint8_t* out) const override {
    if (row < 0 || count < 0 || row > expr_->rows - count) fail(*expr_, "rows out of range");
    if (count > 0) reader_->read(row, count, out);
  }

 private:
  WeightExprPtr expr_;
  ReaderPtr reader_;
};

// Exact text of a double.
std::string bits_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  return std::to_string(bits);
}

// Bytes have no name: 128 bits of hash stand for their content.
std::string hash_of(const std::vector<uint8_t>& data) {
  uint64_t a = 0x243f6a8885a308d3, b = data.size();
  for (size_t i = 0; i < data.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data.data() + i, std::min<size_t>(8, data.size() - i));
    a = std::rotl(a ^ word, 29) * 0xbf58476d1ce4e5b9;
    b = std::rotl(b + word, 31) * 0x9ddfea08eb382d69;
  }
  return std::to_string(mix(a)) + "-" + std::to_string(mix(b ^ a));
}

std::string source_key(const WeightExpr& e) {
  using Kind = WeightExpr::Kind;
  switch (e.kind) {
    case Kind::file:
      return "file " + std::to_string(e.file->path.size()) + ":" + e.file->path + " " + std::to_string(e.file->size) +
             " " + std::to_string(e.file->inode) + " " + std::to_string(e.file->mtime_ns) + " " +
             std::to_string(e.offset);
    case Kind::bytes:
      return "bytes " + hash_of(*e.data) + " " + std::to_string(e.offset);
    case Kind::random:
      return "random " + std::to_string(e.seed) + " " + bits_of(e.mean) + " " + bits_of(e.std);
    case Kind::transpose:
      return "transpose";
    case Kind::slice:
      return "slice " + std::to_string(e.begin);
    case Kind::concat_rows:
      return "concat_rows";
    case Kind::permute_rows:
      return "permute_rows " + std::to_string(e.heads);
    case Kind::cast:
      return "cast";
    case Kind::taps:
      return "taps " + std::to_string(e.kernel);
    case Kind::weight_norm:
      return "weight_norm";
  }
  fail(e, "unknown kind of expression");
}

}  // namespace

std::string weight_key(const WeightExpr& e) {
  std::string key = "(";
  key.append(source_key(e)).append(" ").append(shape_text(e));
  for (const WeightExprPtr& p : e.of) key.append(" ").append(weight_key(*p));
  return key.append(")");
}

std::unique_ptr<RowReader> open_rows(const WeightExprPtr& expr) { return std::make_unique<RootReader>(expr); }

}  // namespace verdant
