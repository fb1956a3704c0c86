#include "cpu/pack.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "cpu/pack_blocks.h"

namespace verdant {
namespace {

constexpr int64_t kAlignment = 2 << 20;  // a huge page
constexpr int64_t kScratch = 512 << 10;  // stored bytes that a thread holds while it packs them: its cache keeps them

struct Scratch {
  std::unique_ptr<uint8_t[]> data;
  int64_t bytes = 0;
  void reserve(int64_t need) {
    if (need <= bytes) return;
    data.reset(new uint8_t[static_cast<size_t>(need)]);  // not zeroed
    bytes = need;
  }
};

// Columns of kUnit bytes: [column][16]. 16 columns at a time: rows a power of two apart share cache sets, so each line
// of a row is used up at once.
template <int kUnit>
void pack_units(const uint8_t* rows, int64_t stride, int64_t count, int64_t units, uint8_t* panel) {
  constexpr int64_t kColumn = kUnit * kPanelRows;
  for (int64_t begin = 0; begin < units; begin += 16) {
    const int64_t end = std::min(units, begin + 16);
    for (int64_t lane = 0; lane < count; lane++)
      for (int64_t c = begin; c < end; c++)
        std::memcpy(panel + c * kColumn + lane * kUnit, rows + lane * stride + c * kUnit, kUnit);
  }
}

void pack_bf16(const uint8_t* rows, int64_t stride, int64_t count, int64_t cols, uint8_t* panel) {
  pack_units<4>(rows, stride, count, cols / 2, panel);
  if (cols % 2 == 0) return;
  for (int64_t lane = 0; lane < count; lane++)
    std::memcpy(panel + cols / 2 * 64 + lane * 4, rows + lane * stride + (cols - 1) * 2, 2);
}

PanelType panel_type(DType dtype) {
  switch (dtype) {
    case kF32:
      return {pack_units<4>, 1, 64};
    case kF16:
      return {pack_units<2>, 1, 32};
    case kBF16:
      return {pack_bf16, 2, 64};
    default:
      if (const PanelType blocks = block_panel_type(dtype); blocks.pack != nullptr) return blocks;
      throw Error("ERR_UNSUPPORTED", std::string("a matrix of type ") + dtype_name(dtype) + " cannot be packed");
  }
}

int64_t panel_bytes(DType dtype, int64_t cols) {
  const PanelType t = panel_type(dtype);
  return ((cols + t.block - 1) / t.block * t.bytes + 63) / 64 * 64;
}

// Parts of a concatenation, however nested; each keeps its own type.
void flatten(const WeightExprPtr& expr, std::vector<WeightExprPtr>& out) {
  if (expr->kind != WeightExpr::Kind::concat_rows) return out.push_back(expr);
  for (const WeightExprPtr& part : expr->of) {
    if (part->cols != expr->cols)
      throw Error("ERR_GRAPH", "concat_rows of " + std::to_string(expr->cols) + " columns: a part has " +
                                   std::to_string(part->cols));
    flatten(part, out);
  }
}

// Equal neighbouring types become one segment.
std::vector<WeightExprPtr> segment_exprs(const WeightExprPtr& expr) {
  std::vector<WeightExprPtr> parts, segments;
  flatten(expr, parts);
  for (size_t i = 0; i < parts.size();) {
    auto joined = std::make_shared<WeightExpr>();
    joined->kind = WeightExpr::Kind::concat_rows;
    joined->dtype = parts[i]->dtype;
    joined->cols = expr->cols;
    for (; i < parts.size() && parts[i]->dtype == joined->dtype; i++) {
      joined->rows += parts[i]->rows;
      joined->of.push_back(parts[i]);
    }
    segments.push_back(std::move(joined));
  }
  return segments;
}

// Packs one matrix; threads take chunks of panels in turn.
class Packer {
 public:
  Packer(const WeightExprPtr& expr, CompileControl& control) : control_(control) {
    int64_t rows = 0;
    for (const WeightExprPtr& part : segment_exprs(expr)) {
      readers_.push_back(open_rows(part));
      const int64_t bytes = panel_bytes(part->dtype, part->cols);
      const int64_t panels = (part->rows + kPanelRows - 1) / kPanelRows;
      const int64_t per_chunk =
          std::max<int64_t>(1, kScratch / std::max<int64_t>(1, kPanelRows * row_bytes(part->dtype, part->cols)));
      for (int64_t p = 0; p < panels; p += per_chunk)
        chunks_.push_back({readers_.size() - 1, p, std::min(panels, p + per_chunk)});
      holder_->segments.push_back({part->dtype, rows, part->rows, nullptr, bytes});
      holder_->bytes += panels * bytes;
      rows += part->rows;
    }
    if (rows != expr->rows)
      throw Error("ERR_GRAPH",
                  "concat_rows of " + std::to_string(expr->rows) + " rows: its parts have " + std::to_string(rows));
    holder_->matrix = {rows, expr->cols, static_cast<int32_t>(holder_->segments.size()), holder_->segments.data()};
    allocate();
  }

  std::shared_ptr<PackedHolder> pack(int threads) {
    std::vector<std::thread> others;
    const size_t wanted = std::min(static_cast<size_t>(std::max(1, threads)), chunks_.size());
    try {
      while (others.size() + 1 < wanted) others.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that there are do the work.
    }
    work();
    for (std::thread& t : others) t.join();
    if (error_) std::rethrow_exception(error_);
    return holder_;
  }

 private:
  struct Chunk {
    size_t segment;
    int64_t begin, end;  // panels
  };

  void allocate() {
    try {
      holder_->pages = Pages(holder_->bytes + kAlignment);
    } catch (const Error&) {
      throw Error("ERR_OUT_OF_MEMORY", "packing a weight (" + std::to_string(holder_->matrix.rows) + ", " +
                                           std::to_string(holder_->matrix.cols) + ") needs " +
                                           std::to_string(holder_->bytes) + " bytes");
    }
    uint8_t* at = holder_->pages.data();
    at += -reinterpret_cast<uintptr_t>(at) % kAlignment;
    for (PanelSegment& s : holder_->segments) {
      s.data = at;
      at += (s.rows + kPanelRows - 1) / kPanelRows * s.panel_bytes;
    }
  }

  void work() {
    try {
      Scratch scratch;
      for (;;) {
        const size_t i = next_.fetch_add(1);
        if (i >= chunks_.size() || failed_.load()) return;
        if (control_.cancelled.load()) throw Error("ERR_ABORTED", "packing the weights was cancelled");
        pack_chunk(chunks_[i], scratch);
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      failed_ = true;
    }
  }

  void pack_chunk(const Chunk& chunk, Scratch& scratch) {
    const PanelSegment& s = holder_->segments[chunk.segment];
    const int64_t cols = holder_->matrix.cols, stride = row_bytes(s.type, cols), row = chunk.begin * kPanelRows;
    const int64_t count = std::min(s.rows, chunk.end * kPanelRows) - row;
    scratch.reserve(count * stride);
    readers_[chunk.segment]->read(row, count, scratch.data.get());
    const PackPanel pack = panel_type(s.type).pack;
    for (int64_t p = chunk.begin; p < chunk.end; p++) {
      const int64_t first = p * kPanelRows - row;
      pack(scratch.data.get() + first * stride, stride, std::min(kPanelRows, count - first), cols,
           const_cast<uint8_t*>(s.data) + p * s.panel_bytes);
    }
    control_.bytes_done += count * stride;
  }

  CompileControl& control_;
  std::shared_ptr<PackedHolder> holder_ = std::make_shared<PackedHolder>();
  std::vector<std::unique_ptr<RowReader>> readers_;
  std::vector<Chunk> chunks_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

// Packed weights of the process by key, as long as anyone holds them.
struct Cache {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::weak_ptr<PackedHolder>> ready;
  std::set<std::string> packing;
};

Cache& cache() {
  static Cache* c = new Cache();  // never destroyed: threads may outlive static objects
  return *c;
}

// Ends the claim on a key, whether packing worked or threw.
struct Claim {
  std::string key;
  std::shared_ptr<PackedHolder> result;
  ~Claim() {
    std::lock_guard lock(cache().mutex);
    cache().packing.erase(key);
    if (result) cache().ready[key] = result;
    cache().changed.notify_all();
  }
};

int64_t stored_bytes(const WeightExprPtr& expr) {
  std::vector<WeightExprPtr> parts;
  flatten(expr, parts);
  int64_t bytes = 0;
  for (const WeightExprPtr& p : parts) bytes += p->rows * row_bytes(p->dtype, p->cols);
  return bytes;
}

}  // namespace

std::shared_ptr<PackedHolder> pack_panels(const WeightExprPtr& expr, int threads, CompileControl& control) {
  const std::string key = weight_key(*expr);
  {
    std::unique_lock lock(cache().mutex);
    std::erase_if(cache().ready, [](const auto& entry) { return entry.second.expired(); });
    for (;;) {
      if (control.cancelled.load()) throw Error("ERR_ABORTED", "packing the weights was cancelled");
      const auto found = cache().ready.find(key);
      if (found != cache().ready.end())
        if (auto holder = found->second.lock()) {
          control.bytes_done += stored_bytes(expr);
          return holder;
        }
      if (cache().packing.insert(key).second) break;
      cache().changed.wait_for(lock, std::chrono::milliseconds(20));
    }
  }
  Claim claim{key, nullptr};
  try {
    claim.result = Packer(expr, control).pack(threads);
  } catch (const std::bad_alloc&) {
    throw Error("ERR_OUT_OF_MEMORY", "packing a weight needs about " + std::to_string(stored_bytes(expr)) + " bytes");
  }
  return claim.result;
}

std::shared_ptr<std::vector<float>> pack_vector(const WeightExprPtr& expr) {
  const std::unique_ptr<RowReader> reader = open_rows(expr);
  const int64_t stride = row_bytes(expr->dtype, expr->cols);
  auto out = std::make_shared<std::vector<float>>(static_cast<size_t>(expr->rows * expr->cols));
  std::vector<uint8_t> row(static_cast<size_t>(stride));
  for (int64_t r = 0; r < expr->rows; r++) {
    reader->read(r, 1, row.data());
    decode_to_f32(expr->dtype, row.data(), expr->cols, out->data() + r * expr->cols);
  }
  return out;
}

}  // namespace verdant
