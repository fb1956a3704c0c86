#include "core/program.h"

#include <cstring>
#include <set>

#include "core/error.h"
#include "ops/list.h"

namespace verdant {
namespace {

[[noreturn]] void fail(const Program& program, const std::string& where, const std::string& what) {
  throw Error("ERR_GRAPH", "program " + program.name + ": " + where + ": " + what);
}

struct Arity {
  int32_t least = 0;
  int32_t most = 0;
};

Arity arity(const char* const* names) {
  Arity a;
  for (; *names != nullptr; names++) {
    if (std::strcmp(*names, "...") == 0) {
      a.most = kMaxArity;
      return a;
    }
    a.most++;
    if ((*names)[std::strlen(*names) - 1] != '?') a.least = a.most;
  }
  return a;
}

const AttrDef* find_attr(const OpDef& def, const std::string& name) {
  for (const AttrDef* a = def.attrs; a->name != nullptr; a++)
    if (name == a->name) return a;
  return nullptr;
}

void check_attrs(const Program& program, const Node& node, const OpDef& def) {
  for (const auto& [name, value] : node.attrs)
    if (find_attr(def, name) == nullptr) fail(program, node.op + " " + node.name, "unknown attribute " + name);
  for (const AttrDef* a = def.attrs; a->name != nullptr; a++)
    if (!node.attrs.contains(a->name))
      fail(program, node.op + " " + node.name, std::string("attribute missing: ") + a->name);
}

void check_node(const Program& program, const Node& node, std::vector<bool>& defined) {
  const OpDef* def = find_op(node.op);
  const std::string where = node.op + " " + node.name;
  if (def == nullptr) fail(program, where, "unknown op");
  const int32_t values = static_cast<int32_t>(program.values.size());
  const Arity in = arity(def->inputs), out = arity(def->outputs);
  const int32_t in_count = static_cast<int32_t>(node.inputs.size());
  const int32_t out_count = static_cast<int32_t>(node.outputs.size());
  if (in_count < in.least || in_count > in.most)
    fail(program, where,
         "takes " + std::to_string(in.least) + " to " + std::to_string(in.most) + " inputs, has " +
             std::to_string(in_count));
  if (out_count < out.least || out_count > out.most)
    fail(program, where,
         "gives " + std::to_string(out.least) + " to " + std::to_string(out.most) + " outputs, has " +
             std::to_string(out_count));
  for (int32_t i = 0; i < in_count; i++) {
    const int32_t v = node.inputs[i];
    if (v == -1) {
      const char* name = i < in.most && out.most <= kMaxArity && def->inputs[i] != nullptr ? def->inputs[i] : "";
      if (i < in.least && name[std::strlen(name) - 1] != '?')
        fail(program, where, std::string("input missing: ") + name);
      continue;
    }
    if (v < 0 || v >= values) fail(program, where, "input value " + std::to_string(v) + " does not exist");
    if (program.values[v].kind == ValueKind::temp && !defined[v])
      fail(program, where, "input value " + std::to_string(v) + " is read before it is made");
  }
  for (int32_t v : node.outputs) {
    if (v < 0 || v >= values || program.values[v].kind != ValueKind::temp || defined[v])
      fail(program, where, "output value " + std::to_string(v) + " is not a temp made once");
    defined[v] = true;
  }
  check_attrs(program, node, *def);
}

void check_value(const Program& program, const Value& value) {
  if (value.shape.size() > kMaxRank) fail(program, value.name, "rank above 4");
  for (const DimRef& d : value.shape) {
    if (d.dim >= static_cast<int32_t>(program.dims.size()) || d.dim < -1) fail(program, value.name, "unknown dim");
    if (d.dim < 0 && d.size < 0) fail(program, value.name, "negative size");
    if (d.dim >= 0 && (value.kind == ValueKind::weight || value.kind == ValueKind::state))
      fail(program, value.name, "size of a weight or state must be fixed");
  }
  if (value.kind == ValueKind::weight && value.weight == nullptr) fail(program, value.name, "weight without a source");
}

}  // namespace

const OpDef* find_op(const std::string& name) {
  for (const OpDef* def : kOps)
    if (name == def->name) return def;
  return nullptr;
}

int32_t op_id(const std::string& name) {
  for (int32_t i = 0; i < kOpCount; i++)
    if (name == kOps[i]->name) return i;
  return -1;
}

void validate(const Program& program) {
  for (const Value& value : program.values) check_value(program, value);
  std::vector<bool> defined(program.values.size(), false);
  for (const Node& node : program.nodes) check_node(program, node, defined);
  std::set<int32_t> seen;
  for (const Output& output : program.outputs) {
    const bool ok =
        output.value >= 0 && output.value < static_cast<int32_t>(program.values.size()) && defined[output.value];
    if (!ok || !seen.insert(output.value).second) fail(program, "output " + output.name, "must be a temp, named once");
  }
}

void read_attrs(const Node& node, const OpDef& def, uint8_t* out) {
  for (const AttrDef* a = def.attrs; a->name != nullptr; a++) {
    const Attr& attr = node.attrs.at(a->name);
    const std::string where = node.op + " " + node.name + ": attribute " + a->name;
    int64_t integer = 0;
    if (a->type == kAttrChoice) {
      const std::string* text = std::get_if<std::string>(&attr);
      while (text != nullptr && a->choices[integer] != nullptr && *text != a->choices[integer]) integer++;
      if (text == nullptr || a->choices[integer] == nullptr)
        throw Error("ERR_GRAPH", where + ": not one of its choices");
    } else if (a->type == kAttrBool) {
      const bool* flag = std::get_if<bool>(&attr);
      if (flag == nullptr) throw Error("ERR_GRAPH", where + ": must be a boolean");
      integer = *flag ? 1 : 0;
    } else {
      const double* number = std::get_if<double>(&attr);
      if (number == nullptr) throw Error("ERR_GRAPH", where + ": must be a number");
      if (a->type == kAttrNumber) {
        std::memcpy(out + a->offset, number, sizeof *number);
        continue;
      }
      if (!(*number >= -9e15 && *number <= 9e15)) throw Error("ERR_GRAPH", where + ": must be an integer");
      integer = static_cast<int64_t>(*number);
    }
    std::memcpy(out + a->offset, &integer, sizeof integer);
  }
}

}  // namespace verdant
