#include "core/checks.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core/arena.h"
#include "core/error.h"
#include "ops/list.h"

namespace verdant {
namespace {

// The int32 content and size of an input; null for other kinds of values.
struct Ints {
  const int32_t* data = nullptr;
  int64_t count = 0;
  const char* name = "";
};

class StepCheck {
 public:
  StepCheck(const Program& program, const std::vector<int32_t>& input_index, const Step& step)
      : program_(program), input_index_(input_index), step_(step) {}

  void run() {
    sizes();
    for (const Node& node : program_.nodes) check_node(node);
    if (step_.k > 1 && !program_.has_loop) fail("k above 1 needs a program with a loop");
    if (program_.has_loop) loop();
  }

 private:
  [[noreturn]] static void fail(const std::string& what) { throw Error("ERR_INPUT", what); }

  Ints ints(int32_t value) const {
    if (value < 0 || input_index_[value] < 0 || program_.values[value].dtype != kI32) return {};
    const std::vector<uint8_t>& data = step_.inputs[input_index_[value]];
    return {reinterpret_cast<const int32_t*>(data.data()), static_cast<int64_t>(data.size() / 4),
            program_.values[value].name.c_str()};
  }

  // Each (value, range) is looked at once, however many layers use it.
  void range(int32_t value, int64_t least, int64_t limit) {
    const Ints x = ints(value);
    if (!seen_.insert({value, least, limit}).second) return;
    for (int64_t i = 0; i < x.count; i++)
      if (x.data[i] < least || x.data[i] >= limit)
        fail(std::string(x.name) + "[" + std::to_string(i) + "] is " + std::to_string(x.data[i]) + ", expected " +
             std::to_string(least) + " to " + std::to_string(limit - 1));
  }

  // 0 = x[0] <= x[1] <= ... <= last; `exact`: the last one equals `last`.
  void bounds(int32_t value, int64_t last, bool exact) {
    const Ints x = ints(value);
    if (x.data == nullptr || !seen_.insert({value, -1, last}).second) return;
    bool ok = x.count >= 1 && x.data[0] == 0 && (exact ? x.data[x.count - 1] == last : x.data[x.count - 1] <= last);
    for (int64_t i = 1; ok && i < x.count; i++) ok = x.data[i] >= x.data[i - 1];
    if (!ok) fail(std::string(x.name) + " must ascend from 0 to " + std::to_string(last));
  }

  int64_t dim(int32_t value, int32_t axis) const {
    const DimRef& d = program_.values[value].shape[axis];
    return d.dim >= 0 ? step_.dims[d.dim] : d.size;
  }

  void sizes() {
    size_t inputs = 0;
    for (size_t v = 0; v < program_.values.size(); v++) {
      if (input_index_[v] < 0) continue;
      inputs++;
      const Value& value = program_.values[v];
      const int64_t bytes = element_count(value, step_.dims) * (value.dtype == kU8 ? 1 : 4);
      const int64_t found = static_cast<int64_t>(step_.inputs[input_index_[v]].size());
      if (found != bytes)
        fail(value.name + " must hold " + std::to_string(bytes) + " bytes, holds " + std::to_string(found));
    }
    if (inputs != step_.inputs.size())
      fail("the step has " + std::to_string(step_.inputs.size()) + " inputs, expected " + std::to_string(inputs));
  }

  void cache(int32_t table, int32_t positions, int32_t seq_ids, int64_t blocks) {
    range(table, 0, blocks);
    range(positions, 0, dim(table, 1) * kPage - (step_.k - 1));
    if (seq_ids >= 0) range(seq_ids, 0, dim(table, 0));
  }

  void check_node(const Node& node) {
    const std::vector<int32_t>& in = node.inputs;
    if (node.op == "kv_write") {
      cache(in[4], in[5], in[6], dim(in[2], 0));
    } else if (node.op == "token_write") {
      cache(in[2], in[3], in[4], dim(in[1], 0));
    } else if (node.op == "copy_blocks") {
      range(in[1], 0, dim(in[0], 0));
    } else if (node.op == "attention") {
      attention(node, in);
    } else if (node.op == "pool" || node.op == "log_mel") {
      bounds(in[1], dim(in[0], 0), true);
    } else if (node.op == "group_norm") {
      bounds(in[3], dim(in[0], 0), true);
    } else if (node.op == "conv1d") {
      conv1d(node);
    } else if (node.op == "sample") {
      sample(in);
    }
  }

  void attention(const Node& node, const std::vector<int32_t>& in) {
    bounds(in[3], dim(in[0], 0), true);
    const bool cached = std::get<std::string>(node.attrs.at("source")) == "cache";
    if (cached) cache(in[4], in[5], -1, dim(in[1], 0));
    const int32_t key_starts = in.size() > 6 && in[6] >= 0 ? in[6] : in[3];
    if (!cached) bounds(key_starts, dim(in[1], 0), true);
    if (node.outputs.size() < 2) return;
    const int64_t keys = dim(node.outputs[1], 2);  // probs has a column for each key that any row sees
    if (cached) range(in[5], 0, keys);
    if (!cached && keys < longest(key_starts)) fail("probs must have a column per key of the longest sequence");
  }

  // No row of y has a tap beyond the padding of its sequence.
  void conv1d(const Node& node) {
    const int32_t from = node.inputs[3], to = node.inputs[4];
    bounds(from, dim(node.inputs[0], 0), true);
    bounds(to, dim(node.outputs[0], 0), true);
    const auto attr = [&](const char* name) { return static_cast<int64_t>(std::get<double>(node.attrs.at(name))); };
    const int64_t kernel = attr("kernel"), stride = attr("stride"), padding = attr("padding");
    const Ints x = ints(from), y = ints(to);
    for (int64_t s = 0; s + 1 < x.count; s++) {
      const int64_t spare = x.data[s + 1] - x.data[s] + 2 * padding - kernel;
      const int64_t most = spare < 0 ? 0 : spare / stride + 1, found = y.data[s + 1] - y.data[s];
      if (found > most)
        fail(std::string(y.name) + ": sequence " + std::to_string(s) + " has " + std::to_string(found) +
             " rows, expected at most " + std::to_string(most));
    }
  }

  // Of the sequences that these bounds divide; the bounds were checked.
  int64_t longest(int32_t value) const {
    const Ints x = ints(value);
    int64_t most = 0;
    for (int64_t i = 1; i < x.count; i++) most = std::max<int64_t>(most, x.data[i] - x.data[i - 1]);
    return most;
  }

  void sample(const std::vector<int32_t>& in) {
    const int64_t vocab = dim(in[0], 1), samples = dim(in[0], 0);
    range(in[3], 0, dim(in[4], 0));
    cache(in[7], in[4], in[5], dim(in[6], 0));
    bounds(in[8], dim(in[9], 0), false);
    range(in[9], 0, vocab);
    if (dim(in[10], 0) != dim(in[9], 0)) fail("bias_values must be as long as bias_ids");
    if (dim(in[12], 0) < 1) fail("bad_starts must have at least one entry");
    bounds(in[11], dim(in[12], 0) - 1, false);
    bounds(in[12], dim(in[13], 0), false);
    range(in[13], 0, vocab);
    bounds(in[14], dim(in[15], 0), false);
    range(in[15], 0, vocab);
    bounds(in[16], dim(in[17], 0), false);
    range(in[17], 0, vocab);
    for (int32_t offsets : {in[8], in[11], in[14], in[16]})
      if (dim(offsets, 0) != samples + 1)
        fail(program_.values[offsets].name + " must have one entry more than there are samples");
  }

  void loop() {
    const Loop& loop = program_.loop;
    const int64_t rows = dim(loop.ids_input, 0), samples = dim(loop.remaining, 0);
    if (step_.k > 1 && rows != samples)
      fail("k above 1 needs one row per sequence: " + std::to_string(rows) + " rows, " + std::to_string(samples) +
           " sequences");
    if (dim(loop.ids_output, 0) != samples || dim(loop.stop_offsets, 0) != samples + 1)
      fail("the loop needs an id and stop ids for each of " + std::to_string(samples) + " sequences");
    for (int32_t value : loop.increments)
      if (dim(value, 0) != rows) fail(program_.values[value].name + " must have an entry for each row");
    bounds(loop.stop_offsets, dim(loop.stop_ids, 0), false);
  }

  const Program& program_;
  const std::vector<int32_t>& input_index_;
  const Step& step_;
  std::set<std::tuple<int32_t, int64_t, int64_t>> seen_;
};

}  // namespace

void check_step(const Program& program, const std::vector<int32_t>& input_index, const Step& step) {
  StepCheck(program, input_index, step).run();
}

}  // namespace verdant
