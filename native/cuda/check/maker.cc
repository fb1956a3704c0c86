#include "cuda/check/maker.h"

#include <cstring>

#include "core/weight_types.h"

namespace verdant::check {

Random::Random(const std::string& label) : state_(0xcbf29ce484222325) {
  for (const char c : label) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
}

// SplitMix64.
uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// The sum of four uniform numbers.
float Random::normal() {
  const uint64_t bits = next();
  const int64_t sum =
      static_cast<int64_t>((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
  return static_cast<float>(static_cast<double>(sum - 2 * 65535) * (1.7320508 / 65536));
}

std::vector<float> Random::normals(int64_t count, double scale, double mean) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = static_cast<float>(mean + scale * static_cast<double>(normal()));
  return out;
}

Maker::Maker(std::string name, const std::vector<int64_t>& lengths, std::vector<int32_t> units, std::string compute)
    : name_(std::move(name)), compute_(std::move(compute)), units_(std::move(units)) {
  program.name = name_;
  for (const int32_t u : units_) bounds_.push_back(bounds_.back() + lengths[static_cast<size_t>(u)]);
}

int32_t Maker::add(ValueKind kind, const std::string& name, DType dtype, const std::vector<int64_t>& shape) {
  Value value;
  value.kind = kind;
  value.name = name;
  value.dtype = dtype;
  for (const int64_t size : shape) value.shape.push_back({-1, size});
  program.values.push_back(std::move(value));
  return static_cast<int32_t>(program.values.size()) - 1;
}

int32_t Maker::input(const std::string& name, DType dtype, const std::vector<int64_t>& shape, const void* data,
                     size_t bytes) {
  const uint8_t* at = static_cast<const uint8_t*>(data);
  inputs.emplace_back(at, at + bytes);
  return add(ValueKind::input, name, dtype, shape);
}

int32_t Maker::normal_rows(const std::string& name, int64_t cols, double scale, double mean) {
  std::vector<float> all;
  for (int64_t i = 0; i < units(); i++) {
    const std::vector<float> own = random(name, i).normals(length(i) * cols, scale, mean);
    all.insert(all.end(), own.begin(), own.end());
  }
  return floats(name, all, {rows(), cols});
}

int32_t Maker::floats(const std::string& name, const std::vector<float>& data, const std::vector<int64_t>& shape) {
  return input(name, kF32, shape, data.data(), 4 * data.size());
}

int32_t Maker::ints(const std::string& name, const std::vector<int32_t>& data, const std::vector<int64_t>& shape) {
  const std::vector<int64_t> flat = {static_cast<int64_t>(data.size())};
  return input(name, kI32, shape.empty() ? flat : shape, data.data(), 4 * data.size());
}

int32_t Maker::bytes(const std::string& name, const std::vector<uint8_t>& data, const std::vector<int64_t>& shape) {
  return input(name, kU8, shape, data.data(), data.size());
}

int32_t Maker::weight(const std::string& name, const WeightExprPtr& expr, const std::vector<int64_t>& shape) {
  const int32_t v = add(ValueKind::weight, name, kF32, shape);
  program.values[static_cast<size_t>(v)].weight = expr;
  return v;
}

int32_t Maker::matrix(const std::string& name, DType type, int64_t rows, int64_t cols, double scale) {
  return weight(name, random_weight(name_ + name, type, rows, cols, scale), {rows, cols});
}

int32_t Maker::vector(const std::string& name, int64_t count, double scale, double mean) {
  return weight(name, random_weight(name_ + name, kF32, 1, count, scale, mean), {count});
}

int32_t Maker::state(const std::string& name, DType dtype, int64_t rows, int64_t cols) {
  return add(ValueKind::state, name, dtype, {rows, cols});
}

std::vector<int32_t> Maker::node(const std::string& op, const std::vector<int32_t>& inputs,
                                 const std::vector<OutShape>& outputs, const std::map<std::string, Attr>& attrs,
                                 bool keep) {
  std::vector<int32_t> made;
  const std::string name = op + std::to_string(program.nodes.size());
  for (const OutShape& out : outputs) {
    made.push_back(add(ValueKind::temp, name, out.dtype, out.shape));
    if (!keep) continue;
    program.outputs.push_back({name + "." + std::to_string(made.size() - 1), made.back()});
    const bool own = out.bounds.empty() && !out.shape.empty() && out.shape[0] == rows();
    output_bounds.push_back(own ? bounds_ : out.bounds);
  }
  program.nodes.push_back({op, name, inputs, made, attrs});
  return made;
}

WeightExprPtr random_weight(const std::string& label, DType type, int64_t rows, int64_t cols, double scale,
                            double mean) {
  auto expr = std::make_shared<WeightExpr>();
  expr->kind = WeightExpr::Kind::random;
  expr->dtype = type;
  expr->rows = rows;
  expr->cols = cols;
  expr->seed = Random(label).next();
  expr->std = scale;
  expr->mean = mean;
  return expr;
}

std::string case_name(const Case& c) {
  return c.op + (c.name.empty() ? "" : ", " + c.name) + (c.compute.empty() ? "" : ", compute " + c.compute);
}

std::vector<Case> all_cases() {
  std::vector<Case> out;
  add_row_cases(out);
  add_matrix_cases(out);
  add_sequence_cases(out);
  add_attention_cases(out);
  add_sample_cases(out);
  add_decoder_cases(out);
  return out;
}

}  // namespace verdant::check
