#include "ops/token_logprob.h"

namespace verdant::VERDANT_ISA {

static int64_t token_logprob_tasks(const OpCall& call, int32_t) { return call.in[0].dim[0]; }

static int64_t token_logprob_cost(const OpCall& call) { return 20 * call.in[0].dim[0] * call.in[0].dim[1]; }

// x[t] - max - log(sum_c exp(x[c] - max)), from the logarithm on in double; a target outside the vocabulary gives NaN.
static void token_logprob_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  const int64_t vocab = call.in[0].dim[1];
  const int32_t* targets = (const int32_t*)call.in[1].data;
  float* logprobs = (float*)call.out[0].data;
  for (int64_t r = begin; r < end; r++) {
    if (targets[r] < 0 || targets[r] >= vocab) {
      logprobs[r] = NAN;
      continue;
    }
    const float* x = (const float*)call.in[0].data + r * vocab;
    const float top = row_max(x, vocab);
    const double sum = sum_exp<false>(x, nullptr, vocab, top);
    logprobs[r] = (float)((double)x[targets[r]] - (double)top - log(sum));
  }
}

static const Kernel token_logprob_kernel = {1, token_logprob_tasks, token_logprob_run, nullptr, token_logprob_cost};

}  // namespace verdant::VERDANT_ISA
