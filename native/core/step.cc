#include "core/step.h"

#include <algorithm>
#include <new>

#include "core/arena.h"
#include "core/error.h"

namespace verdant {

std::vector<int32_t> input_index(const Program& program) {
  std::vector<int32_t> index(program.values.size(), -1);
  int32_t inputs = 0;
  for (size_t v = 0; v < program.values.size(); v++)
    if (program.values[v].kind == ValueKind::input) index[v] = inputs++;
  return index;
}

std::vector<int32_t> output_index(const Program& program) {
  std::vector<int32_t> index(program.values.size(), -1);
  for (size_t o = 0; o < program.outputs.size(); o++) index[program.outputs[o].value] = static_cast<int32_t>(o);
  return index;
}

void allocate_outputs(const Program& program, Step& step) {
  step.outputs.resize(program.outputs.size());
  for (size_t o = 0; o < program.outputs.size(); o++) {
    Step::OutputBuffer& buffer = step.outputs[o];
    buffer.bytes = element_count(program.values[program.outputs[o].value], step.dims) * 4;
    const size_t total = static_cast<size_t>(buffer.bytes) * static_cast<size_t>(step.k);
    buffer.data.reset(new (std::nothrow) uint8_t[std::max<size_t>(total, 1)]);
    if (buffer.data == nullptr)
      throw Error("ERR_OUT_OF_MEMORY",
                  "output " + program.outputs[o].name + " needs " + std::to_string(total) + " bytes");
  }
}

}  // namespace verdant
