// A weight as its parts of one type each, and as floats.
#include <string>

#include "core/error.h"
#include "core/weight_expr.h"

namespace verdant {
namespace {

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

}  // namespace

std::vector<WeightExprPtr> segment_exprs(const WeightExprPtr& expr) {
  std::vector<WeightExprPtr> parts, segments;
  int64_t rows = 0;
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
    rows += joined->rows;
    segments.push_back(std::move(joined));
  }
  if (rows != expr->rows)
    throw Error("ERR_GRAPH",
                "concat_rows of " + std::to_string(expr->rows) + " rows: its parts have " + std::to_string(rows));
  return segments;
}

int64_t stored_bytes(const WeightExpr& expr) {
  if (expr.kind != WeightExpr::Kind::concat_rows) return expr.rows * row_bytes(expr.dtype, expr.cols);
  int64_t bytes = 0;
  for (const WeightExprPtr& part : expr.of) bytes += stored_bytes(*part);
  return bytes;
}

std::vector<float> decode_all(const WeightExprPtr& expr) {
  const std::unique_ptr<RowReader> reader = open_rows(expr);
  std::vector<float> out(static_cast<size_t>(expr->rows * expr->cols));
  std::vector<uint8_t> row(static_cast<size_t>(row_bytes(expr->dtype, expr->cols)));
  for (int64_t r = 0; r < expr->rows; r++) {
    reader->read(r, 1, row.data());
    decode_to_f32(expr->dtype, row.data(), expr->cols, out.data() + r * expr->cols);
  }
  return out;
}

}  // namespace verdant
