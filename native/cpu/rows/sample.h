#include "ops/sample.h"

#include "cpu/rows/sample_pool.h"
#include "cpu/rows/sample_process.h"
#include "cpu/rows/sample_random.h"

namespace verdant::VERDANT_ISA {

constexpr int64_t kSampleTasks = 16;  // a task takes samples t, t + 16, ...: bounds the workspace

// Largest of a row; NaN where the row holds a NaN or an infinity above.
static float sample_best(const float* x, int64_t n) {
  Vec m = set1(-INFINITY);
  bool bad = false;
  each_vec(n, [&m, &bad, x](int64_t c, int64_t lanes) {
    const Vec v = load_part(x + c, lanes);
    bad |= any(is_nan(v));
    m = max(m, lanes >= 16 ? v : select(first(lanes), v, set1(-INFINITY)));
  });
  const float best = reduce_max(m);
  return bad || best == INFINITY ? NAN : best;
}

static int32_t sample_first_equal(const float* x, int64_t n, float best) {
  const Vec limit = set1(best);
  for (int64_t c = 0; c < n; c += 16) {
    if (!any(ge(select(first(n - c), load_part(x + c, n - c), set1(-INFINITY)), limit))) continue;
    for (int64_t i = c; i < c + 16 && i < n; i++)
      if (x[i] >= best) return (int32_t)i;
  }
  return -1;
}

// The `top` largest of x less `log_sum`, best first; places past the vocabulary hold -1 and -inf.
static void sample_top(const float* x, int64_t n, int64_t top, double log_sum, int32_t* ids, float* logprobs) {
  int64_t count = 0;
  float least = -INFINITY;
  const auto insert = [&](int64_t id) {
    if (!(count < top || x[id] > least)) return;
    int64_t at = count < top ? count++ : top - 1;
    for (; at > 0 && x[ids[at - 1]] < x[id]; at--) ids[at] = ids[at - 1];
    ids[at] = (int32_t)id;
    if (count == top) least = x[ids[top - 1]];
  };
  for (int64_t c = 0; top > 0 && c < n; c += 16) {
    if (count == top && !any(lt(set1(least), select(first(n - c), load_part(x + c, n - c), set1(-INFINITY))))) continue;
    for (int64_t i = c; i < c + 16 && i < n; i++) insert(i);
  }
  for (int64_t i = 0; i < top; i++) {
    logprobs[i] = i < count ? (float)((double)x[ids[i]] - log_sum) : -INFINITY;
    if (i >= count) ids[i] = -1;
  }
}

// Keeps the k largest; like Hugging Face, also all that equal the k-th.
static void sample_top_k(SamplePool& p, int64_t k) {
  if (k <= 0 || k >= p.vocab) return;
  while (k > p.count && !p.complete) pool_widen(p);
  if (k < p.count) {
    pool_first(p, k);
    const float least = p.value[k - 1];
    pool_filter(p, [&p, least](int64_t i) { return p.value[i] >= least; });
  }
  p.complete = true;
}

// Keeps the shortest prefix whose share of the mass reaches top_p, at least one.
static void sample_top_p(SamplePool& p, double top_p) {
  if (top_p >= 1.0) return;
  const double total = pool_total(p);
  while (!p.complete && top_p * total > p.mass()) pool_widen(p);
  p.count = pool_mass_prefix<false>(p, top_p * total);
  p.complete = true;
}

// Drops what is less likely than min_p times the most likely, whose weight is 1.
static void sample_min_p(SamplePool& p, double min_p) {
  if (min_p <= 0.0) return;
  pool_widen_to(p, min_p);
  pool_filter(p, [&p, min_p](int64_t i) { return (double)p.weight[i] >= min_p; });
  p.complete = true;
}

// Orders by |-log p - entropy|, smallest first; keeps the shortest prefix whose mass reaches typical_p, and ties.
static void sample_typical(SamplePool& p, double typical_p) {
  if (typical_p >= 1.0) return;
  pool_complete(p);
  const double total = p.mass();
  double mean = 0;  // entropy = log total - sum p d with d = (x - best) / temperature
  for (int64_t i = 0; i < p.count; i++) mean += (double)p.weight[i] * p.distance(i);
  mean /= total;
  for (int64_t i = 0; i < p.count; i++) p.value[i] = -(float)fabs(mean - p.distance(i));
  const float least = p.value[pool_mass_prefix<false>(p, typical_p * total) - 1];
  pool_filter(p, [&p, least](int64_t i) { return p.value[i] >= least; });
  for (int64_t i = 0; i < p.count; i++) p.value[i] = p.x[p.id[i]];
}

// Of the candidates with a share of at least `threshold`, drops all but the last in order.
static void sample_xtc(SamplePool& p, double threshold) {
  pool_complete(p);
  const double least = threshold * p.mass();
  int64_t last = -1;
  for (int64_t i = 0; i < p.count; i++)
    if ((double)p.weight[i] >= least && (last < 0 || p.before(last, p.value[i], p.id[i]))) last = i;
  if (last < 0) return;
  const float value = p.value[last];
  const int32_t id = p.id[last];
  pool_filter(p, [&p, value, id](int64_t i) { return !p.before(i, value, id); });
}

// Mirostat 2: drops candidates whose surprise -log2 p is above mu, at least one stays.
static void sample_mirostat(SamplePool& p, double mu) {
  const double least = exp2(-mu) * pool_total(p);
  pool_widen_to(p, least);
  if (least >= 1.0) {
    pool_first(p, 1);
    p.count = 1;
  } else {
    pool_filter(p, [&p, least](int64_t i) { return (double)p.weight[i] >= least; });
  }
  p.complete = true;
}

// Place of the drawn candidate: the first in order whose cumulative mass passes uniform * total.
static int64_t sample_draw(SamplePool& p, double uniform, double total) {
  while (!p.complete && uniform * total >= p.mass()) pool_widen(p);
  return pool_mass_prefix<true>(p, uniform * total) - 1;
}

// ln of the sum of exp(x).
static double sample_log_sum(const float* x, int64_t vocab, float best) {
  const SamplePool all = {x, vocab, best, 1.0f, nullptr, nullptr, nullptr, 0, 0.0f, false};
  return (double)best + log(pool_total(all));
}

// Draws an id from the processed logits; mu is mirostat's state.
static int32_t sample_id(const SampleState& s, SamplePool& p, float& mu) {
  const int64_t position = s.history.length;
  pool_widen(p);
  sample_top_k(p, s.integers[kTopK]);
  sample_top_p(p, (double)s.numbers[kTopP]);
  sample_min_p(p, (double)s.numbers[kMinP]);
  sample_typical(p, (double)s.numbers[kTypicalP]);
  const double xtc = (double)s.numbers[kXtcProbability];
  if (xtc > 0.0 && sample_uniform(s.integers, position, kPurposeXtc) < xtc)
    sample_xtc(p, (double)s.numbers[kXtcThreshold]);
  const bool mirostat = s.integers[kMirostat] == 2;
  if (mirostat) sample_mirostat(p, (double)mu);
  if (p.count == 0) return -1;  // every candidate was dropped
  const double total = pool_total(p);
  const int64_t at = sample_draw(p, sample_uniform(s.integers, position, kPurposeDraw), total);
  if (mirostat) {
    const double surprise = -log2((double)p.weight[at] / total);
    mu = (float)((double)mu - (double)s.numbers[kMirostatEta] * (surprise - (double)s.numbers[kMirostatTau]));
  }
  return p.id[at];
}

// Scratch of one task: x, value, weight, id (vocab each) and suffix (positions of a sequence).
static int64_t sample_scratch(const OpCall& call) {
  return 4 * (4 * ((call.in[kInLogits].dim[1] + 15) / 16 * 16) + call.in[kInTable].dim[1] * kPage);
}

static SampleHistory sample_history(const OpCall& call, int64_t sample) {
  const Tensor &table = call.in[kInTable], &tokens = call.in[kInTokens];
  SampleHistory h = {(const int32_t*)tokens.data, (const int32_t*)table.data, tokens.dim[0], 0};
  const int64_t row = ((const int32_t*)call.in[kInRows].data)[sample];
  if (row < 0 || row >= call.in[kInPositions].dim[0]) return h;
  const int64_t seq = ((const int32_t*)call.in[kInSeqIds].data)[row];
  const int64_t length = (int64_t)((const int32_t*)call.in[kInPositions].data)[row] + 1;
  if (seq < 0 || seq >= table.dim[0] || length < 0) return h;
  h.table += seq * table.dim[1];
  h.length = length < table.dim[1] * kPage ? length : table.dim[1] * kPage;
  return h;
}

static void sample_one(const OpCall& call, int64_t sample, uint8_t* scratch) {
  const int64_t vocab = call.in[kInLogits].dim[1], top = call.out[2].dim[1], padded = (vocab + 15) / 16 * 16;
  const float* logits = (const float*)call.in[kInLogits].data + sample * vocab;
  float* x = (float*)scratch;
  int32_t* ids = (int32_t*)(x + 3 * padded);
  const SampleState s = {&call,
                         sample,
                         (const float*)call.in[kInNumbers].data + sample * kSampleNumbers,
                         (const int32_t*)call.in[kInIntegers].data + sample * kSampleIntegers,
                         sample_history(call, sample),
                         vocab,
                         x,
                         ids,
                         ids + padded};
  int32_t id = -1;
  float mu = s.numbers[kMirostatMu];
  const float raw_best = sample_best(logits, vocab);
  const bool sound = raw_best > -INFINITY;  // false for NaN too
  const int32_t beam = s.integers[kBeam];
  double log_sum = 0;
  if (sound) {
    log_sum = sample_log_sum(logits, vocab, raw_best);
    const bool process = beam != 0 || sample_processes(s);
    if (process) sample_process(s, logits, beam != 0 ? log_sum : 0.0);
    const float* used = process ? x : logits;
    const float best = process ? sample_best(x, vocab) : raw_best, temperature = s.numbers[kTemperature];
    SamplePool pool = {used, vocab, best, temperature, x + padded, x + 2 * padded, ids, 0, 0.0f, false};
    if (best > -INFINITY) id = temperature > 0.0f ? sample_id(s, pool, mu) : sample_first_equal(used, vocab, best);
  }
  const int64_t wanted = !sound ? 0 : s.integers[kTopLogprobs] < top ? s.integers[kTopLogprobs] : top;
  int32_t* top_ids = (int32_t*)call.out[2].data + sample * top;
  float* top_logprobs = (float*)call.out[3].data + sample * top;
  const double processed_sum = beam == 2 && id >= 0 ? sample_log_sum(x, vocab, sample_best(x, vocab)) : 0.0;
  sample_top(beam != 0 ? x : logits, vocab, wanted, beam != 0 ? processed_sum : log_sum, top_ids, top_logprobs);
  for (int64_t i = wanted > 0 ? wanted : 0; i < top; i++) top_ids[i] = -1, top_logprobs[i] = -INFINITY;
  ((int32_t*)call.out[0].data)[sample] = id;
  ((float*)call.out[1].data)[sample] = id < 0 ? NAN : (float)((double)logits[id] - log_sum);
  ((float*)call.out[4].data)[sample] = mu;
}

static int64_t sample_tasks(const OpCall& call, int32_t) {
  const int64_t samples = call.in[kInLogits].dim[0];
  return samples < kSampleTasks ? samples : kSampleTasks;
}

static int64_t sample_workspace(const OpCall& call) { return sample_tasks(call, 0) * sample_scratch(call); }

static int64_t sample_cost(const OpCall& call) { return 30 * call.in[kInLogits].dim[0] * call.in[kInLogits].dim[1]; }

static void sample_run(const OpCall& call, int32_t, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; task++)
    for (int64_t s = task; s < call.in[kInLogits].dim[0]; s += kSampleTasks)
      sample_one(call, s, call.workspace + task * sample_scratch(call));
}

static const Kernel sample_kernel = {1, sample_tasks, sample_run, sample_workspace, sample_cost};

}  // namespace verdant::VERDANT_ISA
