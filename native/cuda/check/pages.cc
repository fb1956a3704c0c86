#include "cuda/check/pages.h"

#include <algorithm>
#include <numeric>

#include "ops/list.h"

namespace verdant::check {

Pages::Pages(const Maker& m, const std::vector<int64_t>& keys) {
  for (const int64_t n : keys) columns = std::max(columns, (n + kPage - 1) / kPage);
  const int64_t used = columns * static_cast<int64_t>(keys.size());
  blocks = used + 3;
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  Random random = m.random("pages");
  for (int64_t b = blocks - 1; b > 0; b--) std::swap(order[b], order[random.below(b + 1)]);
  table.assign(order.begin(), order.begin() + used);
}

Places::Places(const std::vector<int64_t>& keys, const std::vector<int64_t>& counts) {
  for (size_t s = 0; s < keys.size(); s++)
    for (int64_t p = keys[s] - counts[s]; p < keys[s]; p++) {
      positions.push_back(static_cast<int32_t>(p));
      seqs.push_back(static_cast<int32_t>(s));
    }
}

DType cache_dtype(const std::string& type) { return type == "f32" ? kF32 : type == "bf16" ? kBF16 : kU8; }

int32_t cache_state(Maker& m, const std::string& name, DType dtype, int64_t blocks, int64_t heads, int64_t head_dim) {
  return m.state(name, dtype, blocks, heads * kv_head_bytes(dtype, head_dim, name == "keys") / kv_element_bytes(dtype));
}

}  // namespace verdant::check
