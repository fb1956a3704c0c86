// Cases of ops with weight matrices: every weight type, every way to multiply it.
#include <algorithm>

#include "core/weight_types.h"
#include "cuda/check/maker.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

std::vector<int64_t> ones(int64_t n) { return std::vector<int64_t>(static_cast<size_t>(n), 1); }

std::vector<DType> matrix_types() {
  std::vector<DType> out;
  for (int32_t t = 0; t < kDTypeCount; t++)
    if (t != kI32 && t != kU8) out.push_back(static_cast<DType>(t));
  return out;
}

bool rounds(DType type) { return type != kF32 && type != kF16; }

struct Sizes {
  int64_t rows, n, k;
};

// k in blocks of the type, at least one.
int64_t fitting(DType type, int64_t k) {
  const int64_t block = weight_type(type).block;
  return std::max<int64_t>(1, k / block) * block;
}

Case linear_case(DType type, Sizes s, const std::string& compute, bool bias) {
  s.k = fitting(type, s.k);
  const std::string name = std::string(dtype_name(type)) + ", " + std::to_string(s.rows) + " rows, " +
                           std::to_string(s.n) + " x " + std::to_string(s.k);
  return {"linear",
          name,
          ones(s.rows),
          compute == "f32" ? 1e-12 : 1e-5,
          [=](Maker& m) {
            const int32_t x = m.normal_rows("x", s.k), w = m.matrix("w", type, s.n, s.k);
            m.node("linear", {x, w, bias ? m.vector("b", s.n) : -1}, {{{m.rows(), s.n}}}, {{"compute", m.compute()}});
          },
          compute};
}

void add_linears(std::vector<Case>& out) {
  for (const DType type : matrix_types()) {
    for (const Sizes s : {Sizes{1, 1, 1}, {3, 129, 96}, {33, 67, 1056}})
      out.push_back(linear_case(type, s, "f32", s.rows != 3));
    if (!rounds(type)) continue;
    // Rounding is seen in many outputs only.
    for (const Sizes s : {Sizes{1, 515, 256},
                          {2, 130, 768},
                          {5, 40, 2560},
                          {9, 67, 1056},
                          {17, 64, 512},
                          {65, 33, 2080},
                          {130, 200, 96}})
      out.push_back(linear_case(type, s, "bf16", s.rows % 2 == 1));
  }
  for (const Sizes s : {Sizes{3, 65, 67}, {66, 65, 67}, {200, 65, 1}})  // rows that end within a load
    for (const DType type : {kF16, kBF16}) out.push_back(linear_case(type, s, type == kF16 ? "f32" : "bf16", true));
  // By tiles of 64 and of 128 rows where a GPU has some 130 multiprocessors.
  for (const Sizes s : {Sizes{130, 1700, 100}, {1300, 1700, 36}, {1300, 1701, 35}})
    for (const DType type : {kF32, kF16}) out.push_back(linear_case(type, s, "f32", type == kF32));
  // The second one: tiles enough that a GPU of some 130 multiprocessors takes Hopper's kernels of all types.
  for (const Sizes s : {Sizes{11, 37, 512}, {65, 8500, 512}})
    out.push_back({"linear", "three matrices, types under each other, " + std::to_string(s.rows) + " rows",
                   ones(s.rows), 1e-5,
                   [=](Maker& m) {
                     const auto stack = std::make_shared<WeightExpr>();
                     stack->kind = WeightExpr::Kind::concat_rows;
                     stack->dtype = kQ4_K;
                     stack->rows = 125;
                     stack->cols = s.k;
                     for (const DType type : {kQ4_K, kQ6_K, kBF16, kQ8_0, kQ4_1})
                       stack->of.push_back(random_weight(dtype_name(type), type, 25, s.k));
                     const int32_t x = m.normal_rows("x", s.k);
                     m.node("linear",
                            {x, m.weight("w", stack, {125, s.k}), m.vector("b", 125), m.matrix("w1", kBF16, 37, s.k),
                             -1, m.matrix("w2", kQ4_K, s.n, s.k), m.vector("b2", s.n)},
                            {{{m.rows(), 125}}, {{m.rows(), 37}}, {{m.rows(), s.n}}}, {{"compute", m.compute()}});
                   },
                   "bf16"});
}

void add_embeds(std::vector<Case>& out) {
  for (const DType type : matrix_types())
    out.push_back({"embed", dtype_name(type), ones(19), 0, [=](Maker& m) {
                     const int64_t cols = fitting(type, 288);
                     std::vector<int32_t> ids;
                     for (int64_t i = 0; i < m.units(); i++)
                       ids.push_back(static_cast<int32_t>(m.random("ids", i).below(101)));
                     m.node("embed", {m.ints("ids", ids), m.matrix("table", type, 101, cols)}, {{{m.rows(), cols}}});
                   }});
}

Case moe_case(DType type, int64_t rows, const std::string& compute) {
  return {"moe",
          std::string(dtype_name(type)) + ", " + std::to_string(rows) + " rows",
          ones(rows),
          compute == "f32" ? 1e-11 : 5e-5,
          [=](Maker& m) {
            const int64_t hidden = fitting(type, 96), ffn = fitting(type, 64), experts = 5;
            m.node("moe",
                   {m.normal_rows("x", hidden), m.normal_rows("router", experts, 2),
                    m.matrix("gate", type, experts * ffn, hidden, 0.1), m.matrix("up", type, experts * ffn, hidden),
                    m.matrix("down", type, experts * hidden, ffn)},
                   {{{m.rows(), hidden}}},
                   {{"top", 2.0}, {"normalise", rows != 3}, {"fn", "silu"}, {"compute", m.compute()}});
          },
          compute};
}

void add_moes(std::vector<Case>& out) {
  for (const DType type : matrix_types()) {
    for (const int64_t rows : {1, 3, 67}) out.push_back(moe_case(type, rows, "f32"));
    if (rounds(type)) out.push_back(moe_case(type, 40, "bf16"));
  }
}

void add_matmuls(std::vector<Case>& out) {
  for (const bool turned : {false, true})
    for (const int64_t planes : {1, 6}) {
      const auto make = [=](Maker& m) {
        const int64_t rows = m.rows(), k = 67, n = 130;
        const std::vector<int64_t> lead = planes == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{2, 3};
        const auto shape = [&](int64_t r, int64_t c) {
          std::vector<int64_t> s = lead;
          s.insert(s.end(), {r, c});
          return s;
        };
        const int32_t b = m.floats("b", m.random("b").normals(planes * k * n), turned ? shape(n, k) : shape(k, n));
        const int32_t a = planes == 1 ? m.normal_rows("a", k)
                                      : m.floats("a", m.random("a").normals(planes * rows * k), shape(rows, k));
        m.node("matmul", {a, b}, {{shape(rows, n), kF32, planes == 1 ? m.bounds() : std::vector<int64_t>{}}},
               {{"transpose_b", turned}});
      };
      out.push_back(
          {"matmul", std::to_string(planes) + " planes" + (turned ? ", transposed" : ""), ones(45), 1e-12, make});
    }
}

}  // namespace

void add_matrix_cases(std::vector<Case>& out) {
  add_linears(out);
  add_embeds(out);
  add_moes(out);
  add_matmuls(out);
}

}  // namespace verdant::check
