// What can be said of a program before sizes are known: its weights, panels, indices and loop.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/shapes.h"
#include "ops/list.h"

namespace verdant {
namespace {

bool is_panel_input(const Node& node, size_t i) {
  return (node.op == "embed" && i == 1) || (node.op == "linear" && i % 2 == 1) || (node.op == "conv1d" && i == 1) ||
         (node.op == "moe" && i >= 2);
}

[[noreturn]] void fail(const Program& program, const std::string& what) {
  throw Error("ERR_GRAPH", "program " + program.name + ": " + what);
}

void check_weight(const Program& program, const Value& value, bool panels) {
  int64_t count = 1;
  for (const DimRef& d : value.shape) {
    if (d.size > (int64_t{1} << 40) / std::max<int64_t>(1, count))
      fail(program, "weight " + value.name + ": impossible size");
    count *= d.size;
  }
  const WeightExpr& expr = *value.weight;
  const bool fits =
      panels ? value.shape.size() == 2 && value.shape[0].size == expr.rows && value.shape[1].size == expr.cols
             : expr.rows <= (int64_t{1} << 40) / std::max<int64_t>(1, expr.cols) && count == expr.rows * expr.cols;
  if (!fits || value.dtype != kF32)
    fail(program, "weight " + value.name + ": its source has (" + std::to_string(expr.rows) + ", " +
                      std::to_string(expr.cols) + "), another shape than declared");
}

// Whether types change only where an expert of `rows` rows ends: a kernel finds it in one segment.
bool whole_experts(const WeightExpr& expr, int64_t rows, int64_t& row, DType& last) {
  if (expr.kind != WeightExpr::Kind::concat_rows) {
    const bool good = expr.dtype == last || row % rows == 0;
    row += expr.rows;
    last = expr.dtype;
    return good;
  }
  return std::all_of(expr.of.begin(), expr.of.end(),
                     [&](const WeightExprPtr& part) { return whole_experts(*part, rows, row, last); });
}

// Outputs of a group of conv1d lie in one segment.
void check_groups(const Program& program, const Node& node) {
  if (node.op != "conv1d") return;
  const double* groups = std::get_if<double>(&node.attrs.at("groups"));
  const WeightExpr& expr = *program.values[node.inputs[1]].weight;
  int64_t row = 0;
  DType last = kDTypeCount;
  const bool whole = groups != nullptr && *groups >= 1 && *groups <= static_cast<double>(expr.rows) &&
                     expr.rows % static_cast<int64_t>(*groups) == 0;
  if (!whole || !whole_experts(expr, expr.rows / static_cast<int64_t>(*groups), row, last))
    fail(program, "conv1d " + node.name + ": groups must divide the rows of " + program.values[node.inputs[1]].name +
                      ", each of one type");
}

void check_experts(const Program& program, const Node& node) {
  if (node.op != "moe") return;
  const std::vector<DimRef>& router = program.values[node.inputs[1]].shape;
  const int64_t experts = router.size() == 2 && router[1].dim < 0 ? router[1].size : 0;
  if (experts < 1) fail(program, "moe " + node.name + ": router must have a fixed number of columns");
  for (const int32_t v : panel_inputs(node)) {
    const WeightExpr& expr = *program.values[v].weight;
    int64_t row = 0;
    DType last = kDTypeCount;
    if (expr.rows < experts || expr.rows % experts != 0 || !whole_experts(expr, expr.rows / experts, row, last))
      fail(program, "moe " + node.name + ": " + program.values[v].name + " must hold equal matrices of " +
                        std::to_string(experts) + " experts, each of one type");
  }
}

// A matrix that is packed for linear, embed, moe or conv1d cannot be read by other ops.
std::vector<bool> panel_values(const Program& program) {
  for (const Node& node : program.nodes)
    for (const int32_t v : panel_inputs(node))
      if (program.values[v].kind != ValueKind::weight)
        fail(program, node.op + " " + node.name + ": the matrix must be a weight");
  const std::vector<bool> panels = panel_weights(program);
  for (const Node& node : program.nodes)
    for (size_t i = 0; i < node.inputs.size(); i++)
      if (node.inputs[i] >= 0 && panels[node.inputs[i]] && !is_panel_input(node, i))
        fail(program, node.op + " " + node.name + ": matrix " + program.values[node.inputs[i]].name +
                          " is packed for linear, embed, moe or conv1d");
  return panels;
}

void check_loop(const Program& program) {
  const int32_t values = static_cast<int32_t>(program.values.size());
  const Loop& loop = program.loop;
  std::vector<int32_t> inputs = {loop.ids_input, loop.stop_offsets, loop.stop_ids, loop.remaining};
  inputs.insert(inputs.end(), loop.increments.begin(), loop.increments.end());
  for (int32_t v : inputs)
    if (v < 0 || v >= values || program.values[v].kind != ValueKind::input || program.values[v].dtype != kI32 ||
        program.values[v].shape.size() != 1)
      fail(program, "loop: value " + std::to_string(v) + " must be an i32 input of rank 1");
  for (const Output& o : program.outputs)
    if (o.value == loop.ids_output && program.values[o.value].dtype == kI32 &&
        program.values[o.value].shape.size() == 1)
      return;
  fail(program, "loop: idsOutput must be an i32 output of rank 1");
}

// What kernels index memory with must come from the caller, whose content is checked at each step.
void check_index_inputs(const Program& program, const Node& node) {
  if (node.op != "kv_write" && node.op != "token_write" && node.op != "copy_blocks" && node.op != "attention" &&
      node.op != "sample" && node.op != "conv1d" && node.op != "group_norm" && node.op != "log_mel")
    return;
  const size_t first = node.op == "token_write" ? 2 : 1;
  for (size_t i = first; i < node.inputs.size(); i++) {
    const int32_t v = node.inputs[i];
    if (v >= 0 && program.values[v].dtype == kI32 && program.values[v].kind != ValueKind::input &&
        program.values[v].kind != ValueKind::state)
      fail(program, node.op + " " + node.name + ": " + program.values[v].name + " must be an input");
  }
}

}  // namespace

std::vector<int32_t> panel_inputs(const Node& node) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < node.inputs.size(); i++)
    if (is_panel_input(node, i) && node.inputs[i] >= 0) out.push_back(node.inputs[i]);
  return out;
}

std::vector<bool> panel_weights(const Program& program) {
  std::vector<bool> panels(program.values.size(), false);
  for (const Node& node : program.nodes)
    for (const int32_t v : panel_inputs(node)) panels[v] = true;
  return panels;
}

int64_t state_bytes(const Value& value) {
  if (value.dtype != kF32 && value.dtype != kI32 && value.dtype != kBF16 && value.dtype != kU8)
    throw Error("ERR_UNSUPPORTED", "state " + value.name + " of dtype " + dtype_name(value.dtype));
  __int128 bytes = row_bytes(value.dtype, 1);
  for (const DimRef& d : value.shape) bytes = std::min<__int128>(bytes * d.size, __int128{1} << 60);
  if (bytes > (int64_t{1} << 46))
    throw Error("ERR_OUT_OF_MEMORY", "state " + value.name + " would need more than 2^46 bytes");
  return static_cast<int64_t>(bytes);
}

void check_program(const Program& program) {
  const std::vector<bool> panels = panel_values(program);
  for (size_t v = 0; v < program.values.size(); v++)
    if (program.values[v].kind == ValueKind::weight) check_weight(program, program.values[v], panels[v]);
  for (const Node& node : program.nodes) {
    check_index_inputs(program, node);
    check_experts(program, node);
    check_groups(program, node);
  }
  if (program.has_loop) check_loop(program);
}

}  // namespace verdant
