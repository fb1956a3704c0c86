// Cases of ops that see sequences: pooling, norms over time, convolution.
#include "core/weight_types.h"
#include "cuda/check/maker.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

const std::vector<int64_t> kLengths = {5, 1, 130, 0, 33, 64};

void add_pools(std::vector<Case>& out) {
  for (int64_t f = 0; kPoolModes[f] != nullptr; f++) {
    const std::string mode = kPoolModes[f];
    out.push_back({"pool", mode, kLengths, mode == "max" ? 0 : 1e-12, [=](Maker& m) {
                     std::vector<int64_t> each;
                     for (int64_t s = 0; s <= m.units(); s++) each.push_back(s);
                     m.node("pool", {m.normal_rows("x", 131, 1, 0.5), m.ints("starts", m.starts())},
                            {{{m.units(), 131}, kF32, each}}, {{"mode", mode}});
                   }});
  }
}

void add_norms(std::vector<Case>& out) {
  out.push_back(
      {"group_norm", "", kLengths, 1e-11, [](Maker& m) {
         m.node("group_norm",
                {m.normal_rows("x", 67, 2, 0.5), m.vector("w", 67), m.vector("b", 67), m.ints("starts", m.starts())},
                {{{m.rows(), 67}}}, {{"eps", 1e-5}});
       }});
  out.push_back({"log_mel", "", kLengths, 1e-12, [](Maker& m) {
                   std::vector<float> power;
                   for (int64_t i = 0; i < m.units(); i++)
                     for (const float x : m.random("x", i).normals(m.length(i) * 80)) power.push_back(x * x);
                   m.node("log_mel", {m.floats("x", power, {m.rows(), 80}), m.ints("starts", m.starts())},
                          {{{m.rows(), 80}}});
                 }});
}

struct Conv {
  DType type;
  int64_t c_in, c_out, kernel, stride, padding, groups;
};

Case conv_case(const Conv& c) {
  std::string name = dtype_name(c.type);
  for (const int64_t n : {c.c_in, c.c_out, c.kernel, c.stride, c.padding, c.groups}) name += " " + std::to_string(n);
  return {"conv1d", name, kLengths, 1e-12, [=](Maker& m) {
            std::vector<int64_t> ends = {0};
            for (int64_t i = 0; i < m.units(); i++) {
              const int64_t spare = m.length(i) + 2 * c.padding - c.kernel;
              ends.push_back(ends.back() + (m.length(i) == 0 || spare < 0 ? 0 : spare / c.stride + 1));
            }
            const int32_t x = m.normal_rows("x", c.c_in);
            const int32_t w = m.matrix("w", c.type, c.c_out, c.kernel * c.c_in / c.groups);
            m.node("conv1d",
                   {x, w, m.vector("b", c.c_out), m.ints("starts", m.starts()),
                    m.ints("y_starts", {ends.begin(), ends.end()})},
                   {{{ends.back(), c.c_out}, kF32, ends}},
                   {{"kernel", static_cast<double>(c.kernel)},
                    {"stride", static_cast<double>(c.stride)},
                    {"padding", static_cast<double>(c.padding)},
                    {"groups", static_cast<double>(c.groups)}});
          }};
}

}  // namespace

void add_sequence_cases(std::vector<Case>& out) {
  add_pools(out);
  add_norms(out);
  for (const Conv& c : {Conv{kF32, 17, 33, 3, 1, 1, 1},
                        {kF32, 1, 70, 10, 5, 0, 1},
                        {kF16, 64, 64, 5, 2, 2, 16},
                        {kF32, 80, 96, 3, 1, 1, 1},
                        {kF32, 6, 6, 4, 1, 2, 6},
                        {kBF16, 48, 40, 3, 2, 1, 1},
                        // By tiles of rows where a GPU has some 130 multiprocessors; groups that end within one.
                        {kF32, 20, 1400, 3, 1, 1, 1},
                        {kF32, 7, 1400, 5, 1, 2, 1},
                        {kF32, 160, 800, 6, 1, 3, 16}})
    out.push_back(conv_case(c));
}

}  // namespace verdant::check
