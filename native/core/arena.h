// Memory plan of the temps: offsets in one arena, found from lifetimes, one plan per bucket of dims.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "core/program.h"

namespace verdant {

struct ArenaPlan {
  std::vector<int64_t> offsets;  // by value; -1: not in the arena
  int64_t bytes = 0;
};

class ArenaPlanner {
 public:
  // `until`, by node: the node until whose end stays what it reads; itself where nodes run one after another.
  ArenaPlanner(const Program& program, const std::vector<int32_t>& until);
  // The plan for these dims, made for the bucket that holds them: dims are rounded up, so few plans serve all steps.
  const ArenaPlan& plan(const std::vector<int64_t>& dims);

 private:
  ArenaPlan make(const std::vector<int64_t>& dims) const;

  const Program& program_;
  std::vector<int32_t> first_, last_;  // node that makes a value, last node that reads it; -1: not in the arena
  std::map<std::vector<int64_t>, ArenaPlan> plans_;
};

int64_t element_count(const Value& value, const std::vector<int64_t>& dims);

}  // namespace verdant
