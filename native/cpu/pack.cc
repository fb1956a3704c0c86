#include "cpu/pack.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "core/error.h"
#include "core/share_out.h"
#include "core/weight_cache.h"
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
    holder_->matrix = {rows, expr->cols, static_cast<int32_t>(holder_->segments.size()), holder_->segments.data()};
    allocate();
  }

  std::shared_ptr<PackedHolder> pack(int threads) {
    share_out(threads, static_cast<int64_t>(chunks_.size()), [this] {
      return [this, scratch = Scratch()](int64_t i) mutable {
        if (control_.cancelled.load()) throw Error("ERR_ABORTED", "packing the weights was cancelled");
        pack_chunk(chunks_[static_cast<size_t>(i)], scratch);
      };
    });
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
};

}  // namespace

std::shared_ptr<PackedHolder> pack_panels(const WeightExprPtr& expr, int threads, CompileControl& control) {
  static auto* cache = new WeightCache<PackedHolder>();  // never destroyed: threads may outlive static objects
  const auto make = [&] {
    try {
      return Packer(expr, control).pack(threads);
    } catch (const std::bad_alloc&) {
      throw Error("ERR_OUT_OF_MEMORY",
                  "packing a weight needs about " + std::to_string(stored_bytes(*expr)) + " bytes");
    }
  };
  return cache->get(weight_key(*expr), control, make, [&] { control.bytes_done += stored_bytes(*expr); });
}

}  // namespace verdant
