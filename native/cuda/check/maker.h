// Cases of the check: programs of a few nodes with fixed sizes, and random data for their inputs.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/program.h"

namespace verdant::check {

// Numbers that depend on a label alone.
class Random {
 public:
  explicit Random(const std::string& label);
  uint64_t next();
  int64_t below(int64_t limit) { return static_cast<int64_t>(next() % static_cast<uint64_t>(limit)); }
  float normal();  // near enough
  std::vector<float> normals(int64_t count, double scale = 1, double mean = 0);

 private:
  uint64_t state_;
};

struct OutShape {
  std::vector<int64_t> shape;
  DType dtype = kF32;
  std::vector<int64_t> bounds = {};  // rows of each unit; none given: as the maker's, where the rows are as many
};

// A program with its inputs. It is made of units, rows or sequences that know nothing of each other: unit u has
// `lengths[u]` rows, and the same data in whichever company it is.
class Maker {
 public:
  Maker(std::string name, const std::vector<int64_t>& lengths, std::vector<int32_t> units, std::string compute);

  int64_t rows() const { return bounds_.back(); }
  int64_t units() const { return static_cast<int64_t>(units_.size()); }
  int64_t length(int64_t place) const { return bounds_[place + 1] - bounds_[place]; }
  std::vector<int64_t> counts() const {
    std::vector<int64_t> out;
    for (int64_t i = 0; i < units(); i++) out.push_back(length(i));
    return out;
  }
  int32_t unit(int64_t place) const { return units_[place]; }
  const std::vector<int64_t>& bounds() const { return bounds_; }
  std::vector<int32_t> starts() const { return {bounds_.begin(), bounds_.end()}; }
  const std::string& compute() const { return compute_; }
  Random random(const std::string& label) const { return Random(name_ + " " + label); }
  Random random(const std::string& label, int64_t place) const {
    return random(label + " " + std::to_string(unit(place)));
  }

  // Values. Shapes are sizes; what is drawn depends on the name, and of rows on the unit.
  int32_t normal_rows(const std::string& name, int64_t cols, double scale = 1, double mean = 0);
  int32_t floats(const std::string& name, const std::vector<float>& data, const std::vector<int64_t>& shape);
  int32_t ints(const std::string& name, const std::vector<int32_t>& data, const std::vector<int64_t>& shape = {});
  int32_t bytes(const std::string& name, const std::vector<uint8_t>& data, const std::vector<int64_t>& shape);
  int32_t weight(const std::string& name, const WeightExprPtr& expr, const std::vector<int64_t>& shape);
  int32_t matrix(const std::string& name, DType type, int64_t rows, int64_t cols, double scale = 1);
  int32_t vector(const std::string& name, int64_t count, double scale = 1, double mean = 0);
  int32_t state(const std::string& name, DType dtype, int64_t rows, int64_t cols);
  // A node; its outputs are values, and outputs of the program unless `keep` is false.
  std::vector<int32_t> node(const std::string& op, const std::vector<int32_t>& inputs,
                            const std::vector<OutShape>& outputs, const std::map<std::string, Attr>& attrs = {},
                            bool keep = true);

  Program program;
  std::vector<std::vector<uint8_t>> inputs;
  std::vector<std::vector<int64_t>> output_bounds;  // by output; empty: not by units

 private:
  int32_t add(ValueKind kind, const std::string& name, DType dtype, const std::vector<int64_t>& shape);
  int32_t input(const std::string& name, DType dtype, const std::vector<int64_t>& shape, const void* data,
                size_t bytes);

  const std::string name_, compute_;
  const std::vector<int32_t> units_;
  std::vector<int64_t> bounds_ = {0};
};

WeightExprPtr random_weight(const std::string& label, DType type, int64_t rows, int64_t cols, double scale = 1,
                            double mean = 0);

// A case: the same `make` for all its units, for some, and for one alone.
struct Case {
  std::string op, name;
  std::vector<int64_t> lengths;  // of units
  double gate;                   // NMSE against the CPU; integers must be equal
  std::function<void(Maker&)> make;
  std::string compute = "";  // asked of the CUDA device where the CPU computes in f32
};

std::string case_name(const Case& c);
std::vector<Case> all_cases();
// Parts of all_cases.
void add_row_cases(std::vector<Case>& out);
void add_matrix_cases(std::vector<Case>& out);
void add_sequence_cases(std::vector<Case>& out);
void add_attention_cases(std::vector<Case>& out);
void add_sample_cases(std::vector<Case>& out);
void add_decoder_cases(std::vector<Case>& out);

}  // namespace verdant::check
