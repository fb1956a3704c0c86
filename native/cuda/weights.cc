#include "cuda/weights.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/share_out.h"
#include "core/weight_cache.h"

namespace verdant::cuda {
namespace {

constexpr int64_t kPiece = 4 << 20;  // bytes that a thread uploads at once

class Upload {
 public:
  Upload(int32_t device, const WeightExprPtr& expr, CompileControl& control) : device_(device), control_(control) {
    int64_t rows = 0;
    for (const WeightExprPtr& part : segment_exprs(expr)) {
      if (unit_layout(part->dtype).cols == 0)
        throw Error("ERR_UNSUPPORTED",
                    std::string("a matrix of type ") + dtype_name(part->dtype) + " cannot be used on a CUDA device");
      readers_.push_back(open_rows(part));
      const int64_t bytes = device_row_bytes(part->dtype, part->cols);
      const int64_t per_piece = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, bytes));
      for (int64_t r = 0; r < part->rows; r += per_piece)
        pieces_.push_back({readers_.size() - 1, r, std::min(part->rows, r + per_piece)});
      holder_->segments.push_back({part->dtype, rows, part->rows, nullptr, bytes});
      holder_->bytes += part->rows * bytes;
      rows += part->rows;
    }
    holder_->matrix = {rows, expr->cols, static_cast<int32_t>(holder_->segments.size()), holder_->segments.data()};
    holder_->buffer = DeviceBuffer(holder_->bytes);
    const uint8_t* at = holder_->buffer.data();
    for (MatrixSegment& s : holder_->segments) {
      s.data = at;
      at += s.rows * s.row_bytes;
    }
  }

  std::shared_ptr<MatrixHolder> run(int32_t threads, UploadWorkers& workers) {
    share_out(threads, static_cast<int64_t>(pieces_.size()), [&, this] {
      return [this, worker = workers.take(device_)](int64_t i) {
        if (control_.cancelled.load()) throw Error("ERR_ABORTED", "uploading the weights was cancelled");
        upload(pieces_[static_cast<size_t>(i)], *worker);
      };
    });
    return holder_;
  }

 private:
  struct Piece {
    size_t segment;
    int64_t begin, end;  // rows
  };

  void upload(const Piece& piece, UploadWorker& worker) {
    const MatrixSegment& s = holder_->segments[piece.segment];
    const int64_t cols = holder_->matrix.cols, stored = row_bytes(s.type, cols), rows = piece.end - piece.begin;
    worker.stored.resize(static_cast<size_t>(rows * stored));
    readers_[piece.segment]->read(piece.begin, rows, worker.stored.data());
    PinnedBuffer& pinned = worker.pinned[worker.turn ^= 1];
    pinned.reserve(std::max(kPiece, rows * s.row_bytes));
    for (int64_t r = 0; r < rows; r++)
      arrange_row(s.type, worker.stored.data() + r * stored, cols, pinned.data() + r * s.row_bytes);
    worker.stream.wait();  // the copy before this one: its memory is the next to be filled
    check(cudaMemcpyAsync(const_cast<uint8_t*>(s.data) + piece.begin * s.row_bytes, pinned.data(),
                          static_cast<size_t>(rows * s.row_bytes), cudaMemcpyHostToDevice, worker.stream));
    control_.bytes_done += rows * stored;
  }

  const int32_t device_;
  CompileControl& control_;
  std::shared_ptr<MatrixHolder> holder_ = std::make_shared<MatrixHolder>();
  std::vector<std::unique_ptr<RowReader>> readers_;
  std::vector<Piece> pieces_;
};

}  // namespace

std::shared_ptr<UploadWorker> UploadWorkers::take(int32_t device) {
  check(cudaSetDevice(device));
  std::unique_ptr<UploadWorker> worker;
  {
    std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      worker = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (worker == nullptr) worker = std::make_unique<UploadWorker>();
  return {worker.release(), [this](UploadWorker* done) {
            cudaStreamSynchronize(done->stream);
            std::lock_guard lock(mutex_);
            free_.emplace_back(done);
          }};
}

std::shared_ptr<MatrixHolder> upload_matrix(int32_t device, const WeightExprPtr& expr, int32_t threads,
                                            UploadWorkers& workers, CompileControl& control) {
  static auto* cache = new WeightCache<MatrixHolder>();  // never destroyed: threads may outlive static objects
  return cache->get(
      std::to_string(device) + " " + weight_key(*expr), control,
      [&] { return Upload(device, expr, control).run(threads, workers); },
      [&] { control.bytes_done += stored_bytes(*expr); });
}

std::shared_ptr<DeviceBuffer> upload_floats(const WeightExprPtr& expr) {
  const std::vector<float> values = decode_all(expr);
  auto buffer = std::make_shared<DeviceBuffer>(static_cast<int64_t>(values.size() * sizeof(float)));
  const Stream stream;
  check(cudaMemcpyAsync(buffer->data(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice, stream));
  stream.wait();
  return buffer;
}

}  // namespace verdant::cuda
