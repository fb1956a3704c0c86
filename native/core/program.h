// A Program as native code holds it: the plain data of lib/graph/program.ts.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/op.h"
#include "core/weight_expr.h"

namespace verdant {

using Attr = std::variant<double, bool, std::string>;

// A fixed size, or (dim >= 0) the index of a program dim whose size comes with each step.
struct DimRef {
  int32_t dim = -1;
  int64_t size = 0;
};

enum class ValueKind { input, weight, state, temp };

struct Value {
  ValueKind kind = ValueKind::temp;
  std::string name;
  DType dtype = kF32;
  std::vector<DimRef> shape;
  WeightExprPtr weight;
};

struct Node {
  std::string op;
  std::string name;
  std::vector<int32_t> inputs;  // -1: absent
  std::vector<int32_t> outputs;
  std::map<std::string, Attr> attrs;
};

struct Output {
  std::string name;
  int32_t value = -1;
};

// How k decode steps follow each other inside one call. Values are inputs unless said otherwise; -1: none.
struct Loop {
  int32_t ids_output = -1;          // (seqs) i32 temp: sampled ids, fed back to
  int32_t ids_input = -1;           // (rows) i32
  std::vector<int32_t> increments;  // (rows) i32 inputs that grow by one each step
  int32_t stop_offsets = -1;        // (seq_bounds) i32: CSR offsets into
  int32_t stop_ids = -1;            // (stops) i32
  int32_t remaining = -1;           // (seqs) i32: new tokens that a sequence may still take
};

struct Program {
  std::string name;
  std::vector<std::string> dims;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<Output> outputs;
  bool has_loop = false;
  Loop loop;
};

// Checks indices, order, arities, dtypes of weights and attribute names against the op list; throws ERR_GRAPH.
void validate(const Program& program);

const OpDef* find_op(const std::string& name);  // null: unknown
int32_t op_id(const std::string& name);         // OpId of ops/list.h, -1: unknown
// Writes a node's attributes into the op's attribute struct; throws ERR_GRAPH naming the attribute.
void read_attrs(const Node& node, const OpDef& def, uint8_t* out);

}  // namespace verdant
