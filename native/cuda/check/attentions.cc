// Cases of attention and of what writes its cache.
#include <algorithm>
#include <cmath>

#include "cuda/check/pages.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

struct Shape {
  int64_t heads, kv_heads, head_dim;
  int64_t window = 0;
  double softcap = 0;
};

std::string shape_name(const Shape& s) {
  return std::to_string(s.heads) + " / " + std::to_string(s.kv_heads) + " heads of " + std::to_string(s.head_dim) +
         (s.window > 0 ? ", window " + std::to_string(s.window) : "") + (s.softcap > 0 ? ", softcap" : "");
}

// Scores of more columns than 128 are as large as those of 128: rounding q moves them as far.
std::map<std::string, Attr> attention_attrs(const Shape& s, const std::string& source, bool causal) {
  const double scale = s.head_dim <= 128 ? 0.3 : 0.3 * std::sqrt(128.0 / static_cast<double>(s.head_dim));
  return {{"source", source},
          {"heads", static_cast<double>(s.heads)},
          {"kv_heads", static_cast<double>(s.kv_heads)},
          {"head_dim", static_cast<double>(s.head_dim)},
          {"layer", 1.0 * (source == "cache")},
          {"causal", causal},
          {"window", static_cast<double>(s.window)},
          {"scale", scale},
          {"softcap", s.softcap}};
}

enum Extra { kPlain, kSlopes, kRelative, kProbs };

// `compute`: of the linear that makes the values, and so of attention.
Case rows_case(const Shape& s, bool causal, Extra extra, const std::string& compute = "f32",
               std::vector<int64_t> lengths = {5, 1, 300, 33}) {
  const char* names[] = {"", ", slopes", ", relative", ", probs"};
  if (extra == kProbs) lengths = {70};  // maps of weights are of one sequence
  std::string name = "rows, " + compute + ", " + shape_name(s) + (causal ? ", causal" : "") + names[extra] + ",";
  for (const int64_t n : lengths) name += " " + std::to_string(n);
  return {"attention",
          name,
          lengths,
          compute == "f32" ? 1e-11 : 5e-5,
          [=](Maker& m) {
            const int64_t width = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim, cols = 64;
            const int32_t v = m.node("linear", {m.normal_rows("x", cols), m.matrix("w", kBF16, kv, cols, 0.1), -1},
                                     {{{m.rows(), kv}}}, {{"compute", m.compute()}}, false)[0];
            std::vector<int32_t> in = {m.normal_rows("q", width), m.normal_rows("k", kv), v,
                                       m.ints("starts", m.starts())};
            in.resize(11, -1);
            if (extra == kSlopes) in[9] = m.vector("slopes", s.heads, 0.1);
            if (extra == kRelative)
              in[10] = m.floats("relative", m.random("relative").normals(17 * s.heads), {17, s.heads});
            std::vector<OutShape> y = {{{m.rows(), width}}};
            if (extra == kProbs) y.push_back({{s.heads, m.rows(), m.rows()}});
            m.node("attention", in, y, attention_attrs(s, "rows", causal));
          },
          compute};
}

// Sequence u has keys[u] tokens in the cache, of which the last lengths[u] are rows of q. `moved`: blocks are copied to
// others, from which attention reads.
Case cache_case(const Shape& s, const std::string& type, const std::vector<int64_t>& lengths,
                const std::vector<int64_t>& all_keys, bool moved, double q_scale = 1) {
  std::string name = "cache " + type + ", " + shape_name(s) + (moved ? ", copied" : "") + ", rows";
  for (size_t i = 0; i < std::min<size_t>(lengths.size(), 8); i++) name += " " + std::to_string(lengths[i]);
  if (lengths.size() > 8) name += " ... of " + std::to_string(lengths.size()) + " sequences";
  return {moved ? "copy_blocks" : "attention", name, lengths, 1e-12, [=](Maker& m) {
            std::vector<int64_t> keys;
            for (int64_t i = 0; i < m.units(); i++) keys.push_back(all_keys[m.unit(i)]);
            const Pages pages(m, keys);
            const DType dtype = cache_dtype(type);
            const int64_t blocks = pages.blocks * (moved ? 2 : 1), kv = s.kv_heads * s.head_dim;
            const int32_t k = cache_state(m, "keys", dtype, blocks, 2 * s.kv_heads, s.head_dim),
                          v = cache_state(m, "values", dtype, blocks, 2 * s.kv_heads, s.head_dim);
            std::vector<float> rows[2];
            for (int64_t i = 0; i < m.units(); i++)
              for (const int32_t part : {0, 1}) {
                const std::vector<float> x = m.random(part == 0 ? "k" : "v", i).normals(keys[i] * kv);
                rows[part].insert(rows[part].end(), x.begin(), x.end());
              }
            const Places all(keys, keys), own(keys, m.counts());
            const int64_t written = static_cast<int64_t>(all.positions.size());
            const int32_t table = m.ints("table", pages.table, {m.units(), pages.columns});
            m.node("kv_write",
                   {m.floats("k", rows[0], {written, kv}), m.floats("v", rows[1], {written, kv}), k, v, table,
                    m.ints("write_positions", all.positions), m.ints("seq_ids", all.seqs)},
                   {}, {{"layer", 1.0}, {"kv_heads", 1.0 * s.kv_heads}, {"head_dim", 1.0 * s.head_dim}});
            int32_t read = table;
            if (moved) {
              std::vector<int32_t> pairs, to;
              for (const int32_t b : pages.table) {
                to.push_back(b + static_cast<int32_t>(pages.blocks));
                pairs.insert(pairs.end(), {b, to.back()});
              }
              const int32_t copies = m.ints("copies", pairs, {static_cast<int64_t>(to.size()), 2});
              for (const int32_t state : {k, v}) m.node("copy_blocks", {state, copies}, {});
              read = m.ints("moved", to, {m.units(), pages.columns});
            }
            m.node("attention",
                   {m.normal_rows("q", s.heads * s.head_dim, q_scale), k, v, m.ints("starts", m.starts()), read,
                    m.ints("kv_positions", own.positions)},
                   {{{m.rows(), s.heads * s.head_dim}}}, attention_attrs(s, "cache", true));
          }};
}

// How q and k are turned: not at all (half = 0), or 2 half columns of each head.
struct Turn {
  int64_t half;
  bool interleaved;
};

// (rows, 2 half): cosines and sines.
std::vector<float> random_turns(const Maker& m, int64_t half) {
  std::vector<float> out;
  for (int64_t i = 0; i < m.units(); i++) {
    const std::vector<float> angles = m.random("angles", i).normals(m.length(i) * half, 3);
    for (int64_t row = 0; row < m.length(i); row++)
      for (const bool sine : {false, true})
        for (int64_t p = row * half; p < (row + 1) * half; p++)
          out.push_back(sine ? std::sin(angles[p]) : std::cos(angles[p]));
  }
  return out;
}

// What sets a case of what follows apart: rows of a sequence whose last key comes first; values that are the keys.
enum Odd { kUsual, kBackwards, kKeysAsValues };

// Sequence u has keys[u] tokens; the last lengths[u] of them enter the cache by rope, write and attention in a row, the
// others before.
Case turned_case(const Shape& s, const std::string& type, const Turn& turn, const std::vector<int64_t>& lengths,
                 const std::vector<int64_t>& all_keys, Odd odd = kUsual) {
  const char* odds[] = {"", ", backwards", ", keys as values"};
  std::string name = "written, " + type + ", " + shape_name(s) + odds[odd] + ", " + std::to_string(turn.half) +
                     (turn.interleaved ? " interleaved pairs, rows" : " pairs, rows");
  for (const int64_t n : lengths) name += " " + std::to_string(n);
  // A turned key may be rounded to the other side of what a cache of less than f32 holds.
  return {"attention", name, lengths, type == "f32" || turn.half == 0 ? 1e-12 : 1e-8, [=](Maker& m) {
            std::vector<int64_t> keys, before;
            for (int64_t i = 0; i < m.units(); i++) {
              keys.push_back(all_keys[m.unit(i)]);
              before.push_back(keys.back() - m.length(i));
            }
            const Pages pages(m, keys);
            const int64_t kv = s.kv_heads * s.head_dim, width = s.heads * s.head_dim;
            const DType dtype = cache_dtype(type);
            const int32_t k = cache_state(m, "keys", dtype, pages.blocks, 2 * s.kv_heads, s.head_dim),
                          v = cache_state(m, "values", dtype, pages.blocks, 2 * s.kv_heads, s.head_dim),
                          table = m.ints("table", pages.table, {m.units(), pages.columns});
            const std::map<std::string, Attr> heads = {
                {"layer", 1.0}, {"kv_heads", 1.0 * s.kv_heads}, {"head_dim", 1.0 * s.head_dim}};
            std::vector<float> rows[2];
            for (int64_t i = 0; i < m.units(); i++)
              for (const int32_t part : {0, 1}) {
                const std::vector<float> x = m.random(part == 0 ? "k" : "v", i).normals(before[i] * kv);
                rows[part].insert(rows[part].end(), x.begin(), x.end());
              }
            const Places old(before, before);
            Places own(keys, m.counts());
            for (int64_t i = 0; odd == kBackwards && i < m.units(); i++)
              std::reverse(own.positions.begin() + m.bounds()[i], own.positions.begin() + m.bounds()[i + 1]);
            const int64_t count = static_cast<int64_t>(old.positions.size());
            m.node("kv_write",
                   {m.floats("old_k", rows[0], {count, kv}), m.floats("old_v", rows[1], {count, kv}), k, v, table,
                    m.ints("old_positions", old.positions), m.ints("old_seqs", old.seqs)},
                   {}, heads);
            int32_t q = m.normal_rows("q", width), new_k = m.normal_rows("k", kv);
            if (turn.half > 0) {
              const int32_t angles = m.floats("angles", random_turns(m, turn.half), {m.rows(), 2 * turn.half});
              const std::map<std::string, Attr> attrs = {{"head_dim", 1.0 * s.head_dim},
                                                         {"interleaved", turn.interleaved}};
              q = m.node("rope", {q, angles}, {{{m.rows(), width}}}, attrs, false)[0];
              new_k = m.node("rope", {new_k, angles}, {{{m.rows(), kv}}}, attrs, false)[0];
            }
            const int32_t positions = m.ints("kv_positions", own.positions);
            const int32_t new_v = odd == kKeysAsValues ? new_k : m.normal_rows("v", kv);
            m.node("kv_write", {new_k, new_v, k, v, table, positions, m.ints("seq_ids", own.seqs)}, {}, heads);
            const int32_t y = m.node("attention", {q, k, v, m.ints("starts", m.starts()), table, positions},
                                     {{{m.rows(), width}}}, attention_attrs(s, "cache", true))[0];
            m.node("linear", {y, m.matrix("w", kF32, 40, width, 0.1), -1}, {{{m.rows(), 40}}}, {{"compute", "f32"}});
          }};
}

// Keys and values as they lie in pages; tokens too.
void add_writes(std::vector<Case>& out) {
  out.push_back({"token_write", "", {40, 1, 70}, 0, [](Maker& m) {
                   const Pages pages(m, m.counts());
                   const Places all(m.counts(), m.counts());
                   std::vector<int32_t> ids;
                   for (int64_t i = 0; i < m.units(); i++)
                     for (int64_t r = 0; r < m.length(i); r++)
                       ids.push_back(static_cast<int32_t>(m.random("id" + std::to_string(r), i).below(1000)));
                   const int32_t tokens = m.state("tokens", kI32, pages.blocks, kPage);
                   m.node("token_write",
                          {m.ints("ids", ids), tokens, m.ints("table", pages.table, {m.units(), pages.columns}),
                           m.ints("kv_positions", all.positions), m.ints("seq_ids", all.seqs)},
                          {});
                   const int64_t n = static_cast<int64_t>(pages.table.size());
                   m.node("gather_rows", {tokens, m.ints("index", pages.table)},
                          {{{n, kPage}}});  // ids as they are, in f32
                 }});
}

}  // namespace

void add_attention_cases(std::vector<Case>& out) {
  const Shape small = {4, 2, 16}, grouped = {8, 1, 66}, wide = {2, 2, 272}, usual = {8, 2, 128}, tall = {8, 4, 256};
  for (const bool causal : {false, true}) {
    for (const Shape& s : {small, grouped, wide, usual, Shape{3, 3, 40, 50, 10.0}})
      out.push_back(rows_case(s, causal, kPlain));
    for (const Extra extra : {kSlopes, kRelative, kProbs}) out.push_back(rows_case(small, causal, extra));
    for (const Shape& s : {small, usual, tall, Shape{4, 2, 64, 70, 0}, Shape{3, 3, 40, 50, 10.0}})
      out.push_back(rows_case(s, causal, kPlain, "bf16"));
    for (const Extra extra : {kSlopes, kRelative, kProbs}) out.push_back(rows_case(small, causal, extra, "bf16"));
  }
  // Short sequences alone; pages that end where rows do; none.
  out.push_back(rows_case({4, 4, 64}, false, kPlain, "bf16", {3, 1, 8, 2}));
  out.push_back(rows_case({4, 4, 64}, false, kPlain, "bf16", {32, 64, 0, 256, 1}));
  for (const char* type : {"f32", "bf16", "q8"}) {
    for (const Shape& s : {small, grouped, wide, usual, tall, Shape{2, 1, 200, 70, 10.0}, Shape{4, 2, 64, 70, 0},
                           Shape{3, 3, 40, 50, 10.0}}) {
      out.push_back(cache_case(s, type, {1, 1, 1, 1}, {1, 33, 300, 515}, false));
      out.push_back(cache_case(s, type, {5, 1, 33, 40}, {31, 64, 33, 600}, false));
    }
    out.push_back(cache_case(usual, type, {2, 1}, {70, 40}, true));
    // More chunks than are merged at a time; many keys have a say.
    out.push_back(cache_case(usual, type, {1, 3}, {2600, 2049}, false, 0.3));
  }
  // Blocks enough that chunks are merged by a kernel of their own; one sequence alone has too few for that.
  out.push_back(cache_case({64, 64, 16}, "bf16", std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 40), false));
  const std::vector<int64_t> ones = {1, 1, 1, 1}, keys = {1, 33, 257, 1100};
  out.push_back(turned_case(usual, "bf16", {64, false}, ones, keys));
  out.push_back(turned_case(usual, "bf16", {0, false}, ones, keys));
  out.push_back(turned_case(tall, "bf16", {128, false}, ones, keys));
  out.push_back(turned_case({4, 2, 64, 70, 0}, "bf16", {16, true}, ones, keys));
  // As many rows as sequences, some of one; more than 16 queries of a head; columns that are no groups; pairs that are
  // no fours; another cache.
  out.push_back(turned_case({36, 2, 80}, "bf16", {12, false}, {1, 2, 0, 1}, {300, 34, 20, 258}));
  out.push_back(turned_case({3, 3, 40, 50, 10.0}, "bf16", {20, true}, {1, 1, 0, 1}, {300, 34, 20, 258}));
  for (const Odd odd : {kBackwards, kKeysAsValues})
    out.push_back(turned_case({4, 2, 16}, "bf16", {8, false}, {3, 1, 0, 0}, {300, 34, 20, 40}, odd));
  out.push_back(turned_case({4, 2, 64}, "bf16", {30, false}, ones, keys));
  for (const char* type : {"f32", "bf16"}) {  // heads that are in no tiles
    out.push_back(turned_case({10, 1, 66, 40, 0}, type, {33, false}, ones, keys));
    out.push_back(turned_case({4, 2, 272}, type, {10, true}, {1, 2, 0, 1}, {300, 34, 20, 258}));
  }
  out.push_back(turned_case(usual, "f32", {64, false}, ones, keys));
  out.push_back(turned_case(usual, "q8", {64, true}, ones, keys));
  add_writes(out);
}

}  // namespace verdant::check
