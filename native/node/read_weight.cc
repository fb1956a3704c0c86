#include "node/read_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "core/share_out.h"
#include "core/team.h"
#include "node/convert.h"
#include "node/env.h"

namespace verdant {
namespace {

constexpr int64_t kPiece = 1 << 18;  // elements that a thread takes at a time

struct Rows {
  std::unique_ptr<uint8_t[]> data;
  int64_t bytes = 0;
};

int64_t whole(const Napi::Value& value, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= 9007199254740991.0) || number != std::floor(number))
    throw Error("ERR_INPUT", std::string("readWeight: ") + what + " must be an integer from 0");
  return static_cast<int64_t>(number);
}

// Threads of this call alone take pieces of rows in turn: the engine thread stays free for steps.
Rows read_rows(const WeightExprPtr& expr, int64_t row, int64_t count) {
  const std::unique_ptr<RowReader> reader = open_rows(expr);
  if (row > expr->rows || count > expr->rows - row)
    throw Error("ERR_INPUT", "readWeight: rows " + std::to_string(row) + " to " + std::to_string(row + count) + " of " +
                                 std::to_string(expr->rows));
  const int64_t stride = row_bytes(expr->dtype, expr->cols);
  Rows out{std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(count * stride)), count * stride};
  const int64_t piece = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, expr->cols));
  const int64_t pieces = (count + piece - 1) / piece;
  share_out(Team::default_threads(), pieces, [&] {
    return [&](int64_t i) {
      reader->read(row + i * piece, std::min(piece, count - i * piece), out.data.get() + i * piece * stride);
    };
  });
  return out;
}

Napi::Value to_array_buffer(Napi::Env env, Rows& rows) {
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, static_cast<size_t>(rows.bytes));
  if (rows.bytes > 0) std::memcpy(copy.Data(), rows.data.get(), static_cast<size_t>(rows.bytes));
  return copy;
}

}  // namespace

Napi::Value read_weight(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (info.Length() < 3 || !info[0].IsObject())
      throw Error("ERR_INPUT", "readWeight takes a weight expression, a row and a count");
    const WeightExprPtr expr = to_weight_expr(info[0].As<Napi::Object>());
    const int64_t row = whole(info[1], "row"), count = whole(info[2], "count");
    const auto state = EnvState::of(env);
    const EnvState::Pending pending = state->begin(env);
    std::thread([=, id = pending.id] {
      auto rows = std::make_shared<Rows>();
      std::exception_ptr error;
      try {
        *rows = read_rows(expr, row, count);
      } catch (...) {
        error = std::current_exception();
      }
      state->settle(id, [=](Napi::Env env) -> Napi::Value {
        if (error) std::rethrow_exception(error);
        return to_array_buffer(env, *rows);
      });
    }).detach();
    return pending.promise;
  });
}

}  // namespace verdant
