#include "core/shapes.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/error.h"
#include "ops/list.h"

namespace verdant {
namespace {

// Inputs > outputs, each a word: one letter per dim, equal letters are equal sizes within the node; "*" anything, "="
// like the first input. "#": i32 and an input of the program where its content is checked, "~": u8, else f32; "!": a
// state; "%": f32, bf16 or u8 where it is a state, as kv_write has it.
struct Rule {
  const char* op;
  const char* shapes;
};
constexpr Rule kRules[] = {
    {"embed", "r# vc > rc"},
    {"linear", "rk nk n mk m lk l > rn rm rl"},
    {"matmul", "* * > *"},
    {"rms_norm", "rx c > rx"},
    {"layer_norm", "rc c c > rc"},
    {"rope_table", "r# vh r# > rt"},
    {"rope", "rx rt > rx"},
    {"kv_write", "rw rw bs!% bt!% qc# r# r# >"},
    {"token_write", "r# bp#! qc# r# r# >"},
    {"copy_blocks", "*! np# >"},
    {"attention", "rx *% *% g# qc# r# g# hrk rk~ h dh r# hp > rx hrj"},
    {"softmax", "rc > rc"},
    {"activation", "* > ="},
    {"gated", "* = > ="},
    {"add", "* * > ="},
    {"mul", "* * > ="},
    {"scale", "* > ="},
    {"softcap", "* > ="},
    {"concat", "> rn"},
    {"slice", "rc > rn"},
    {"gather_rows", "* n# > nc"},
    {"sample", "sv sa sb# s# r# r# dp#! qc# e# i# i f# g# h# j# k# l# m# sw# > s# s st# st s"},
    {"token_logprob", "rv r# > r"},
    {"pool", "rc g# > sc"},
    {"moe", "rk re nk nk mf > rk"},
    {"conv1d", "rk nm n g# g# > tn"},
    {"group_norm", "rc c c g# > rc"},
    {"log_mel", "rc g# > rc"},
};

static_assert(sizeof(kRules) / sizeof(kRules[0]) == kOpCount);

using Sizes = std::vector<int64_t>;

class NodeCheck {
 public:
  NodeCheck(const Program& program, const Sizes& dims, const Node& node)
      : program_(program), dims_(dims), node_(node) {}

  void run() {
    for (const Rule& rule : kRules)
      if (node_.op == rule.op) {
        match(rule.shapes);
        return special();
      }
    fail("has no shape rule");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error("ERR_GRAPH", node_.op + " " + node_.name + ": " + what);
  }
  void require(bool ok, const char* what) const {
    if (!ok) fail(what);
  }

  Sizes sizes(int32_t value) const {
    Sizes out;
    for (const DimRef& d : program_.values[value].shape) out.push_back(d.dim >= 0 ? dims_[d.dim] : d.size);
    return out;
  }
  static std::string text(const Sizes& sizes) {
    std::string out = "(";
    for (size_t i = 0; i < sizes.size(); i++) out += (i == 0 ? "" : ", ") + std::to_string(sizes[i]);
    return out + ")";
  }

  void match(const char* shapes) {
    const std::string all = shapes;
    const std::vector<int32_t>* values = &node_.inputs;
    size_t at = 0, place = 0;
    while (at < all.size()) {
      const size_t end = std::min(all.find(' ', at), all.size());
      const std::string word = all.substr(at, end - at);
      at = end + 1;
      if (word == ">") {
        values = &node_.outputs;
        place = 0;
        continue;
      }
      if (place < values->size() && (*values)[place] >= 0) match_value((*values)[place], word);
      place++;
    }
  }

  void match_value(int32_t v, const std::string& word) {
    const Value& value = program_.values[v];
    const bool state = word.find('!') != std::string::npos, ints = word.find('#') != std::string::npos;
    const std::string dims = word.substr(0, word.find_first_of("!#~%"));
    const DType wanted = ints ? kI32 : word.find('~') != std::string::npos ? kU8 : kF32;
    const bool cache = word.find('%') != std::string::npos && value.kind == ValueKind::state &&
                       (value.dtype == kBF16 || value.dtype == kU8);
    if (!cache && !(dims == "*" && (state || node_.op == "gather_rows")) && value.dtype != wanted)
      fail(value.name + " must hold " + dtype_name(wanted) + ", holds " + dtype_name(value.dtype));
    if (state != (value.kind == ValueKind::state) && (state || node_.op != "gather_rows") && !(node_.op == "attention"))
      fail(value.name + (state ? " must be a state" : " must not be a state"));
    if (dims == "*") return;
    const Sizes found = sizes(v);
    if (dims == "=") {
      if (found != sizes(node_.inputs[0]))
        fail(value.name + ": expected " + text(sizes(node_.inputs[0])) + ", found " + text(found));
      return;
    }
    if (found.size() != dims.size())
      fail(value.name + ": expected rank " + std::to_string(dims.size()) + ", found " + text(found));
    for (size_t i = 0; i < dims.size(); i++) {
      const auto known = letter_.emplace(dims[i], found[i]);
      if (known.first->second != found[i])
        fail(value.name + ": dim " + std::to_string(i) + ": expected " + std::to_string(known.first->second) +
             ", found " + std::to_string(found[i]));
    }
  }

  int64_t letter(char c) const {
    const auto found = letter_.find(c);
    return found == letter_.end() ? 0 : found->second;
  }
  bool given(size_t input) const { return input < node_.inputs.size() && node_.inputs[input] >= 0; }
  int64_t integer(const char* name) const {
    const double* number = std::get_if<double>(&node_.attrs.at(name));
    return number != nullptr && *number >= -1 && *number <= 1e9 ? static_cast<int64_t>(*number) : -1;
  }

  void special() {
    if (node_.op == "matmul") matmul();
    if (node_.op == "rms_norm")
      require(letter('c') > 0 ? letter('x') % letter('c') == 0 : letter('x') == 0,
              "x must hold whole groups of the weight's size");
    if (node_.op == "rope_table")
      require(letter('t') == 2 * letter('h') && letter('v') >= 1, "the table must be twice as wide as inv_freq");
    if (node_.op == "rope") rope();
    if (node_.op == "kv_write")
      require(letter('w') == integer("kv_heads") * integer("head_dim") && layer_fits(2),
              "k and v must be (rows, kv_heads * head_dim), states must be of one dtype and hold the layer");
    if (node_.op == "token_write") require(letter('p') == kPage, "the state must hold pages of ids");
    if (node_.op == "copy_blocks") require(letter('p') == 2 && !sizes(node_.inputs[0]).empty(), "copies must be pairs");
    if (node_.op == "attention") attention();
    if (node_.op == "add" || node_.op == "mul") row_or_same();
    if (node_.op == "concat") concat();
    if (node_.op == "slice")
      require(integer("begin") >= 0 && integer("begin") + letter('n') <= letter('c'), "columns outside x");
    if (node_.op == "gather_rows")
      require(sizes(node_.inputs[0]).size() == 2 && sizes(node_.inputs[0])[1] == letter('c') &&
                  (program_.values[node_.inputs[0]].dtype == kF32 || program_.values[node_.inputs[0]].dtype == kI32),
              "y must be as wide as x, which holds f32 or i32");
    if (node_.op == "pool") require(letter('g') == letter('s') + 1, "starts must have one entry more than y rows");
    if (node_.op == "conv1d") conv1d();
    if (node_.op == "group_norm" || node_.op == "log_mel")
      require(letter('g') >= 1, "starts must have at least one entry");
    if (node_.op == "moe")
      require(
          integer("top") >= 1 && integer("top") <= letter('e') && letter('n') == letter('e') * letter('f') &&
              letter('m') == letter('e') * letter('k') && letter('k') >= 1 && letter('f') >= 1,
          "gate and up must have ffn rows for each expert, down those of x, and top be one of the experts' numbers");
    if (node_.op == "sample")
      require(letter('a') == kSampleNumbers && letter('b') == kSampleIntegers && letter('p') == kPage &&
                  (!given(18) || letter('w') * 32 >= letter('v')),
              "wrong number of columns");
  }

  void matmul() const {
    const Sizes a = sizes(node_.inputs[0]), b = sizes(node_.inputs[1]), y = sizes(node_.outputs[0]);
    const size_t rank = a.size();
    bool ok = rank >= 2 && b.size() == rank && y.size() == rank;
    for (size_t i = 0; ok && i + 2 < rank; i++) ok = a[i] == b[i] && a[i] == y[i];
    const bool* turned = std::get_if<bool>(&node_.attrs.at("transpose_b"));
    if (ok && turned != nullptr) {
      const int64_t k = b[rank - (*turned ? 1 : 2)], n = b[rank - (*turned ? 2 : 1)];
      ok = a[rank - 1] == k && y[rank - 2] == a[rank - 2] && y[rank - 1] == n;
    }
    if (!ok) fail("a " + text(a) + " and b " + text(b) + " do not make " + text(y));
  }

  void rope() const {
    const int64_t head = integer("head_dim");
    require(head >= 1 && letter('x') % head == 0 && letter('t') % 2 == 0 && letter('t') <= head,
            "x must hold whole heads that the table can turn");
  }

  // Keys and values, inputs `keys` and the next one, are states alike that hold the node's layer.
  bool layer_fits(size_t keys) const {
    const int64_t heads = integer("kv_heads"), head = integer("head_dim"), layer = integer("layer");
    if (heads < 1 || head < 1 || heads > 65536 || head > 65536 || layer < 0) return false;
    const Value &k = program_.values[node_.inputs[keys]], &v = program_.values[node_.inputs[keys + 1]];
    const Sizes k_sizes = sizes(node_.inputs[keys]), v_sizes = sizes(node_.inputs[keys + 1]);
    if (k.dtype != v.dtype || k_sizes.size() != 2 || v_sizes.size() != 2 || k_sizes[0] != v_sizes[0]) return false;
    const int64_t element = kv_element_bytes(k.dtype);
    return (layer + 1) * heads <= k_sizes[1] * element / kv_head_bytes(k.dtype, head, true) &&
           (layer + 1) * heads <= v_sizes[1] * element / kv_head_bytes(k.dtype, head, false);
  }

  void attention() const {
    const int64_t heads = integer("heads"), kv_heads = integer("kv_heads"), head = integer("head_dim");
    require(heads >= 1 && kv_heads >= 1 && head >= 1 && heads <= 65536 && head <= 65536 && heads % kv_heads == 0,
            "heads must be a multiple of kv_heads");
    require(letter('x') == heads * head, "q must be (rows, heads * head_dim)");
    const Sizes k = sizes(node_.inputs[1]);
    require(letter('g') >= 1, "starts must have at least one entry");
    const std::string* source = std::get_if<std::string>(&node_.attrs.at("source"));
    if (source != nullptr && *source == "cache") {
      for (int32_t i : {1, 2})
        require(program_.values[node_.inputs[i]].kind == ValueKind::state, "keys and values must be states");
      require(given(4) && given(5) && layer_fits(1),
              "the cache needs a table, positions, and states of one dtype that hold the layer");
      require(!given(7) && (!given(8) || letter('g') == 2),
              "a bias is for attention over rows, and a mask goes with one sequence");
      require(letter('q') >= letter('g') - 1, "the table must have a row for each sequence");
      const bool* causal = std::get_if<bool>(&node_.attrs.at("causal"));
      require(causal != nullptr && *causal, "attention over the cache is causal");
    } else {
      for (int32_t i : {1, 2})
        require(program_.values[node_.inputs[i]].dtype == kF32, "keys and values of rows must hold f32");
      require(k.size() == 2 && k == sizes(node_.inputs[2]), "k and v must have one shape");
      require(k[1] == kv_heads * head, "k and v must be (rows, kv_heads * head_dim)");
      require(given(6) || k[0] == letter('r'), "keys of another number than rows need key_starts");
      require((!given(7) && !given(8)) || (letter('g') == 2 && letter('k') == k[0]),
              "bias and mask need one sequence and a column for each key");
    }
    if (given(7) || given(9) || given(10) || given(12) || node_.outputs.size() > 1)
      require(letter('h') == heads, "bias, slopes, relative, place_bias and probs must have a plane for each head");
    require(!given(12) || letter('p') >= 1, "place_bias must have at least one column");
    require(!given(10) || letter('d') % 2 == 1, "relative must have an odd number of rows");
    require(!given(11) || (!given(4) && !given(6)), "places are for rows that are the keys too");
  }

  void conv1d() const {
    const int64_t kernel = integer("kernel"), stride = integer("stride"), padding = integer("padding");
    const int64_t groups = integer("groups"), k = letter('k'), n = letter('n');
    require(kernel >= 1 && kernel <= 65536 && stride >= 1 && stride <= 65536 && padding >= 0 && padding <= 65536,
            "kernel and stride must be from 1 to 65536, padding from 0");
    require(groups >= 1 && k >= 1 && n >= 1 && k % groups == 0 && n % groups == 0 && letter('m') == k / groups * kernel,
            "weight must have kernel taps of the columns of a group, and groups divide the columns of x and y");
    require(letter('g') >= 1, "starts must have at least one entry");
  }

  void row_or_same() const {
    const Sizes a = sizes(node_.inputs[0]), b = sizes(node_.inputs[1]);
    const bool row = b.size() == 1 && !a.empty() && a.back() == b[0];
    if (a != b && !row) fail("b must be like a, " + text(a) + ", or a row of it; found " + text(b));
  }

  void concat() const {
    int64_t cols = 0;
    for (int32_t v : node_.inputs) {
      const Sizes part = v < 0 ? Sizes{} : sizes(v);
      require(part.size() == 2 && part[0] == letter('r') && program_.values[v].dtype == kF32,
              "parts must be f32 with the rows of y");
      cols += part[1];
    }
    require(cols == letter('n'), "y must be as wide as its parts together");
  }

  const Program& program_;
  const Sizes& dims_;
  const Node& node_;
  std::map<char, int64_t> letter_;
};

}  // namespace

void check_shapes(const Program& program, const std::vector<int64_t>& dims) {
  for (const Node& node : program.nodes) NodeCheck(program, dims, node).run();
}

}  // namespace verdant
