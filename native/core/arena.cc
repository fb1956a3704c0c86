#include "core/arena.h"

#include <algorithm>

#include "core/error.h"

namespace verdant {
namespace {

constexpr int64_t kAlign = 64;
constexpr size_t kMaxPlans = 64;

int64_t bucket(int64_t n) {
  if (n > 64) return (n + 63) / 64 * 64;
  int64_t b = 1;
  while (b < n) b *= 2;
  return n == 0 ? 0 : b;
}

}  // namespace

int64_t element_count(const Value& value, const std::vector<int64_t>& dims) {
  __int128 count = 1;
  for (const DimRef& d : value.shape) {
    count *= d.dim >= 0 ? dims[d.dim] : d.size;
    if (count > (int64_t{1} << 46))
      throw Error("ERR_OUT_OF_MEMORY", "value " + value.name + " would hold more than 2^46 elements");
  }
  return static_cast<int64_t>(count);
}

ArenaPlanner::ArenaPlanner(const Program& program, const std::vector<int32_t>& until)
    : program_(program), first_(program.values.size(), -1), last_(program.values.size(), -1) {
  for (int32_t n = 0; n < static_cast<int32_t>(program.nodes.size()); n++) {
    for (int32_t v : program.nodes[n].outputs) first_[v] = last_[v] = n;
    for (int32_t v : program.nodes[n].inputs)
      if (v >= 0 && program.values[v].kind == ValueKind::temp) last_[v] = n;
  }
  for (int32_t& n : last_)
    if (n >= 0) n = until[n];
  for (const Output& o : program.outputs) first_[o.value] = -1;  // outputs live in the step's own buffers
}

const ArenaPlan& ArenaPlanner::plan(const std::vector<int64_t>& dims) {
  std::vector<int64_t> key(dims.size());
  std::transform(dims.begin(), dims.end(), key.begin(), bucket);
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= kMaxPlans) plans_.clear();
  return plans_.emplace(key, make(key)).first->second;
}

// Greedy: values in order of making, each at the lowest offset that is free for its whole life.
ArenaPlan ArenaPlanner::make(const std::vector<int64_t>& dims) const {
  struct Block {
    int64_t begin, end;
    int32_t last;
  };
  ArenaPlan plan;
  plan.offsets.assign(program_.values.size(), -1);
  std::vector<Block> live;  // by begin
  for (int32_t n = 0; n < static_cast<int32_t>(program_.nodes.size()); n++) {
    std::erase_if(live, [n](const Block& b) { return b.last < n; });
    for (int32_t v : program_.nodes[n].outputs) {
      if (first_[v] < 0) continue;
      const int64_t bytes = (element_count(program_.values[v], dims) * 4 + kAlign - 1) / kAlign * kAlign;
      int64_t at = 0;
      auto place = live.begin();
      while (place != live.end() && place->begin - at < bytes) at = std::max(at, (place++)->end);
      live.insert(place, {at, at + bytes, last_[v]});
      plan.offsets[v] = at;
      plan.bytes = std::max(plan.bytes, at + bytes);
    }
  }
  return plan;
}

}  // namespace verdant
