// Cases of ops that look at single rows.
#include "cuda/check/maker.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

const std::vector<int64_t> kOdd = {1, 17, 129, 1000};

std::vector<int64_t> ones(int64_t n) { return std::vector<int64_t>(static_cast<size_t>(n), 1); }
std::string size_name(int64_t rows, int64_t cols) {
  return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

void add_elementwise(std::vector<Case>& out) {
  for (int64_t f = 0; kActivationNames[f] != nullptr; f++) {
    const std::string fn = kActivationNames[f];
    const double gate = fn == "relu" ? 0 : 1e-12;
    for (const int64_t cols : kOdd)
      out.push_back({"activation", fn + " " + size_name(9, cols), ones(9), gate, [=](Maker& m) {
                       m.node("activation", {m.normal_rows("x", cols, 3)}, {{{m.rows(), cols}}}, {{"fn", fn}});
                     }});
    out.push_back({"gated", fn, ones(17), 1e-12, [=](Maker& m) {
                     m.node("gated", {m.normal_rows("gate", 129, 3), m.normal_rows("up", 129)}, {{{m.rows(), 129}}},
                            {{"fn", fn}});
                   }});
  }
  for (const char* op : {"add", "mul"})
    for (const bool row : {false, true})
      out.push_back({op, row ? "a row" : "equal shapes", ones(33), 0, [=](Maker& m) {
                       const int32_t b = row ? m.vector("b", 67) : m.normal_rows("b", 67);
                       m.node(op, {m.normal_rows("a", 67), b}, {{{m.rows(), 67}}});
                     }});
  out.push_back({"scale", "", ones(5), 1e-13, [](Maker& m) {
                   m.node("scale", {m.normal_rows("x", 131)}, {{{m.rows(), 131}}}, {{"factor", 0.3}, {"offset", -1.7}});
                 }});
  out.push_back({"softcap", "", ones(5), 1e-12, [](Maker& m) {
                   m.node("softcap", {m.normal_rows("x", 131, 40)}, {{{m.rows(), 131}}}, {{"cap", 30.0}});
                 }});
}

void add_norms(std::vector<Case>& out) {
  for (const int64_t cols : {1, 17, 129, 1000, 4096, 5003, 8200, 20000}) {
    for (const int64_t groups : {1, 3})
      out.push_back({"rms_norm", size_name(7, cols) + " x " + std::to_string(groups), ones(7), 1e-12, [=](Maker& m) {
                       m.node("rms_norm", {m.normal_rows("x", cols * groups), m.vector("w", cols)},
                              {{{m.rows(), cols * groups}}}, {{"eps", 1e-5}, {"offset", groups == 1 ? 0.0 : 1.0}});
                     }});
    for (const bool bias : {false, true})
      out.push_back(
          {"layer_norm", size_name(7, cols) + (bias ? " bias" : ""), ones(7), cols == 1 ? 1e-10 : 1e-12, [=](Maker& m) {
             const int32_t b = bias ? m.vector("b", cols) : -1;
             m.node("layer_norm", {m.normal_rows("x", cols, 2, 3), m.vector("w", cols, 0.5, 1), b},
                    {{{m.rows(), cols}}}, {{"eps", 1e-5}});
           }});
  }
  for (const int64_t cols : {1, 17, 129, 1000, 40000})
    out.push_back({"softmax", size_name(5, cols), ones(5), 1e-12,
                   [=](Maker& m) { m.node("softmax", {m.normal_rows("x", cols, 4)}, {{{m.rows(), cols}}}); }});
}

std::vector<int32_t> drawn(const Maker& m, const char* label, int64_t limit) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < m.units(); i++) {
    Random random = m.random(label, i);
    for (int64_t r = 0; r < m.length(i); r++) out.push_back(static_cast<int32_t>(random.below(limit)));
  }
  return out;
}

void add_columns(std::vector<Case>& out) {
  out.push_back({"concat", "", ones(9), 0, [](Maker& m) {
                   m.node("concat", {m.normal_rows("a", 5), m.normal_rows("b", 129), m.normal_rows("c", 1)},
                          {{{m.rows(), 135}}});
                 }});
  out.push_back({"slice", "", ones(9), 0,
                 [](Maker& m) { m.node("slice", {m.normal_rows("x", 135)}, {{{m.rows(), 67}}}, {{"begin", 33.0}}); }});
  out.push_back({"token_logprob", "", ones(5), 1e-12, [](Maker& m) {
                   m.node("token_logprob", {m.normal_rows("x", 5003, 4), m.ints("ids", drawn(m, "ids", 5003))},
                          {{{m.rows()}}});
                 }});
  out.push_back({"gather_rows", "", ones(40), 0, [](Maker& m) {
                   const int32_t x = m.floats("x", m.random("x").normals(31 * 67), {31, 67});
                   m.node("gather_rows", {x, m.ints("index", drawn(m, "index", 31))}, {{{m.rows(), 67}}});
                 }});
}

void add_rope(std::vector<Case>& out) {
  const auto table = [](Maker& m, const std::string& rule, int64_t half, bool keep) {
    std::vector<float> frequencies;
    for (int64_t i = 0; i < 2 * half; i++)
      frequencies.push_back(static_cast<float>(1 / (1 + static_cast<double>(i * i))));
    const int32_t lengths = rule == "static" ? -1 : m.ints("lengths", drawn(m, "lengths", 200));
    return m.node(
        "rope_table",
        {m.ints("positions", drawn(m, "positions", 100000)), m.floats("inv_freq", frequencies, {2, half}), lengths},
        {{{m.rows(), 2 * half}}},
        {{"rule", rule},
         {"attention_scaling", 1.0},
         {"attention_scaling_long", 1.2},
         {"theta", 10000.0},
         {"factor", 4.0},
         {"original", 100.0}},
        keep)[0];
  };
  for (const char* rule : {"static", "longrope", "dynamic"})
    out.push_back({"rope_table", rule, ones(33), 1e-12, [=](Maker& m) { table(m, rule, 37, true); }});
  for (const bool interleaved : {false, true})
    out.push_back({"rope", interleaved ? "interleaved" : "halves", ones(33), 1e-12, [=](Maker& m) {
                     const int32_t angles = table(m, "static", 24, false);
                     m.node("rope", {m.normal_rows("x", 5 * 66), angles}, {{{m.rows(), 5 * 66}}},
                            {{"head_dim", 66.0}, {"interleaved", interleaved}});
                   }});
}

}  // namespace

void add_row_cases(std::vector<Case>& out) {
  add_elementwise(out);
  add_norms(out);
  add_columns(out);
  add_rope(out);
}

}  // namespace verdant::check
