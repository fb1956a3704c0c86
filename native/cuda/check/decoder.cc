#include "cuda/check/decoder.h"

#include <cmath>

#include "core/weight_types.h"
#include "cuda/check/pages.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

class Builder {
 public:
  Builder(Maker& m, const DecoderShape& s, const DecoderOptions& o) : m_(m), s_(s), o_(o) {}

  void build() {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < m_.units(); i++) keys.push_back(o_.context + m_.length(i));
    const Pages pages(m_, keys);
    const Places places(keys, m_.counts());
    const DType dtype = cache_dtype(o_.cache);
    keys_ = cache_state(m_, "keys", dtype, pages.blocks, s_.layers * s_.kv_heads, s_.head_dim);
    values_ = cache_state(m_, "values", dtype, pages.blocks, s_.layers * s_.kv_heads, s_.head_dim);
    table_ = m_.ints("table", pages.table, {m_.units(), pages.columns});
    positions_ = m_.ints("kv_positions", places.positions);
    seqs_ = m_.ints("seq_ids", places.seqs);
    starts_ = m_.ints("starts", m_.starts());
    tokens_ = m_.state("tokens", kI32, pages.blocks, kPage);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < m_.units(); i++) {
      Random random = m_.random("ids", i);
      for (int64_t r = 0; r < m_.length(i); r++) ids.push_back(static_cast<int32_t>(random.below(s_.vocab)));
    }
    const int32_t id_input = m_.ints("input_ids", ids);
    m_.node("token_write", {id_input, tokens_, table_, positions_, seqs_}, {});
    const int32_t vocabulary = m_.matrix("embed_tokens", o_.head, s_.vocab, s_.hidden, 1 / std::sqrt(1.0 * s_.hidden));
    int32_t x = op("embed", {id_input, vocabulary}, s_.hidden);
    std::vector<float> frequencies;
    for (int64_t i = 0; i < s_.head_dim / 2; i++)
      frequencies.push_back(
          static_cast<float>(std::pow(500000.0, -2.0 * static_cast<double>(i) / static_cast<double>(s_.head_dim))));
    angles_ = op("rope_table",
                 {m_.ints("positions", places.positions), m_.floats("inv_freq", frequencies, {1, s_.head_dim / 2}), -1},
                 s_.head_dim,
                 {{"rule", "static"},
                  {"attention_scaling", 1.0},
                  {"attention_scaling_long", 1.0},
                  {"theta", 0.0},
                  {"factor", 1.0},
                  {"original", 0.0}});
    for (int64_t l = 0; l < s_.layers; l++) x = layer(x, l);
    head(norm(x, "norm"), vocabulary);
  }

 private:
  int32_t op(const std::string& name, const std::vector<int32_t>& in, int64_t cols,
             const std::map<std::string, Attr>& attrs = {}) {
    return m_.node(name, in, {{{m_.rows(), cols}}}, attrs, false)[0];
  }
  int32_t norm(int32_t x, const std::string& name) {
    return op("rms_norm", {x, m_.vector(name, s_.hidden, 0.1, 1)}, s_.hidden, {{"eps", 1e-5}, {"offset", 0.0}});
  }
  int32_t matrix(const std::string& name, int64_t rows, int64_t cols) {
    return m_.matrix(name, o_.type, rows, cols, 1 / std::sqrt(static_cast<double>(cols)));
  }
  std::vector<int32_t> linears(int32_t x, const std::vector<int32_t>& weights, const std::vector<int64_t>& cols) {
    std::vector<int32_t> in = {x};
    std::vector<OutShape> out;
    for (size_t i = 0; i < weights.size(); i++) {
      in.insert(in.end(), {weights[i], -1});
      out.push_back({{m_.rows(), cols[i]}});
    }
    return m_.node("linear", in, out, {{"compute", m_.compute()}}, false);
  }

  int32_t layer(int32_t x, int64_t l) {
    const int64_t q = s_.heads * s_.head_dim, kv = s_.kv_heads * s_.head_dim;
    const std::string of = std::to_string(l % o_.distinct) + ".";
    const std::map<std::string, Attr> turn = {{"head_dim", 1.0 * s_.head_dim}, {"interleaved", false}};
    const int32_t before = norm(x, of + "input_norm");
    const auto qkv = linears(
        before, {matrix(of + "q", q, s_.hidden), matrix(of + "k", kv, s_.hidden), matrix(of + "v", kv, s_.hidden)},
        {q, kv, kv});
    const int32_t turned_q = op("rope", {qkv[0], angles_}, q, turn), turned_k = op("rope", {qkv[1], angles_}, kv, turn);
    const std::map<std::string, Attr> heads = {
        {"layer", 1.0 * l}, {"kv_heads", 1.0 * s_.kv_heads}, {"head_dim", 1.0 * s_.head_dim}};
    m_.node("kv_write", {turned_k, qkv[2], keys_, values_, table_, positions_, seqs_}, {}, heads);
    std::map<std::string, Attr> attrs = heads;
    attrs.insert({{"source", "cache"},
                  {"heads", 1.0 * s_.heads},
                  {"causal", true},
                  {"window", 0.0},
                  {"scale", 1 / std::sqrt(1.0 * s_.head_dim)},
                  {"softcap", 0.0}});
    const int32_t seen = op("attention", {turned_q, keys_, values_, starts_, table_, positions_}, q, attrs);
    x = op("add", {x, linears(seen, {matrix(of + "o", s_.hidden, q)}, {s_.hidden})[0]}, s_.hidden);
    const int32_t after = norm(x, of + "post_norm");
    const auto both = linears(after, {matrix(of + "gate", s_.ffn, s_.hidden), matrix(of + "up", s_.ffn, s_.hidden)},
                              {s_.ffn, s_.ffn});
    const int32_t gated = op("gated", both, s_.ffn, {{"fn", "silu"}});
    return op("add", {x, linears(gated, {matrix(of + "down", s_.hidden, s_.ffn)}, {s_.hidden})[0]}, s_.hidden);
  }

  void head(int32_t x, int32_t vocabulary) {
    const int64_t n = m_.units();
    std::vector<int32_t> last;
    for (int64_t i = 0; i < n; i++) last.push_back(static_cast<int32_t>(m_.bounds()[i + 1]) - 1);
    const int32_t rows = m_.ints("logit_rows", last);
    const int32_t picked = m_.node("gather_rows", {x, rows}, {{{n, s_.hidden}}}, {}, false)[0];
    std::vector<int64_t> each;
    for (int64_t i = 0; i <= n; i++) each.push_back(i);
    const int32_t logits = m_.node("linear", {picked, vocabulary, -1}, {{{n, s_.vocab}, kF32, each}},
                                   {{"compute", m_.compute()}}, !o_.sampled)[0];
    if (o_.sampled) sample(logits, rows);
  }

  // Greedy, without any list.
  void sample(int32_t logits, int32_t rows) {
    const int64_t n = m_.units();
    std::vector<float> numbers;
    for (int64_t i = 0; i < n; i++)
      numbers.insert(numbers.end(), {0, 1, 0, 1, 1, 0, 0, 0, 1.75f, 0, 0.1f, 5, 0.1f, 10});
    const std::vector<int32_t> zeros(static_cast<size_t>(n * kSampleIntegers), 0),
        bounds(static_cast<size_t>(n + 1), 0);
    std::vector<int32_t> in = {logits,
                               m_.floats("numbers", numbers, {n, kSampleNumbers}),
                               m_.ints("integers", zeros, {n, kSampleIntegers}),
                               rows,
                               positions_,
                               seqs_,
                               tokens_,
                               table_,
                               m_.ints("bias_offsets", bounds),
                               m_.ints("bias_ids", {}),
                               m_.floats("bias_values", {}, {0}),
                               m_.ints("bad_offsets", bounds),
                               m_.ints("bad_starts", {0}),
                               m_.ints("bad_ids", {})};
    for (const char* list : {"stop", "breaker"}) {
      in.push_back(m_.ints(std::string(list) + "_offsets", bounds));
      in.push_back(m_.ints(std::string(list) + "_ids", {}));
    }
    m_.node("sample", in, {{{n}, kI32}, {{n}}, {{n, 0}, kI32}, {{n, 0}}, {{n}}});
  }

  Maker& m_;
  const DecoderShape& s_;
  const DecoderOptions& o_;
  int32_t keys_ = -1, values_ = -1, table_ = -1, positions_ = -1, seqs_ = -1, starts_ = -1, tokens_ = -1, angles_ = -1;
};

// Weights of a layer's matrices.
int64_t layer_weights(const DecoderShape& s) {
  return s.hidden * (s.heads + s.kv_heads) * s.head_dim * 2 + 3 * s.hidden * s.ffn;
}

}  // namespace

void decoder(Maker& m, const DecoderShape& shape, const DecoderOptions& options) { Builder(m, shape, options).build(); }

int64_t layer_bytes(const DecoderShape& s, DType type) { return row_bytes(type, layer_weights(s)); }
int64_t weight_bytes(const DecoderShape& s, const DecoderOptions& o) {
  return s.layers * layer_bytes(s, o.type) + s.vocab * row_bytes(o.head, s.hidden);
}
int64_t cache_bytes(const DecoderShape& s, const DecoderOptions& o, int64_t sequences) {
  const DType type = cache_dtype(o.cache);
  const int64_t page = kv_head_bytes(type, s.head_dim, true) + kv_head_bytes(type, s.head_dim, false);
  return sequences * s.layers * s.kv_heads * (o.context + 1) * page / kPage;
}
double row_flops(const DecoderShape& s) {
  return 2.0 * static_cast<double>(s.layers) * static_cast<double>(layer_weights(s));
}

void add_decoder_cases(std::vector<Case>& out) {
  const DecoderShape small = {"small", 256, 512, 2, 4, 2, 64, 1003};
  for (const bool decode : {false, true})
    for (const DType type : {kF32, kBF16, kQ8_0, kQ4_K}) {
      const std::vector<int64_t> lengths = decode ? std::vector<int64_t>(9, 1) : std::vector<int64_t>{7, 33, 1};
      const DecoderOptions options = {type, type, decode ? 40 : 0, type == kF32 ? "f32" : "bf16", 2, false};
      const std::string name = std::string(dtype_name(type)) + (decode ? ", decode" : ", prefill");
      const auto make = [=](Maker& m) { decoder(m, small, options); };
      out.push_back({"decoder", name, lengths, 1e-8, make});
      if (type != kF32) out.push_back({"decoder", name, lengths, 1e-3, make, "bf16"});
    }
}

}  // namespace verdant::check
