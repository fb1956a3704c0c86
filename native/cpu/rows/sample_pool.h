// Candidates of one draw and what selects among them. The order is: larger value first, lower id first on a tie.
// Nothing here sorts: a prefix of the order is cut by count or by mass with quickselect, in linear time.

namespace verdant::VERDANT_ISA {

// Candidates far below the best, in units of the temperature, are gathered only when needed: 8, 16, 32, then all.
constexpr float kFirstReach = 8.0f;
constexpr float kLastReach = 32.0f;
constexpr float kLargest = 3.402823466e38f;  // any finite logit is at least minus this

struct SamplePool {
  const float* x;  // (vocab) processed logits
  int64_t vocab;
  float best;
  float temperature;
  // (count) candidates: value that orders them, weight exp((x - best) / temperature), id
  float* value;
  float* weight;
  int32_t* id;
  int64_t count;
  float reach;    // gathered are those with x >= best - reach * temperature
  bool complete;  // false: later candidates of the order are missing

  bool before(int64_t a, float v, int32_t i) const { return value[a] > v || (value[a] == v && id[a] < i); }
  void swap(int64_t a, int64_t b) {
    const float v = value[a], w = weight[a];
    const int32_t i = id[a];
    value[a] = value[b], weight[a] = weight[b], id[a] = id[b];
    value[b] = v, weight[b] = w, id[b] = i;
  }
  // exp's argument for candidate a, and all candidates' mass; both as the weights see them.
  double distance(int64_t a) const { return (double)((x[id[a]] - best) / temperature); }
  double mass() const {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)weight[i];
    return sum;
  }
};

static inline Vec pool_weights(Vec x, float best, float temperature) {
  return exp(div(sub(x, set1(best)), set1(temperature)));
}

// Gathers the candidates with x >= least, ids ascending.
static void pool_gather(SamplePool& p, float least) {
  const float* const x = p.x;
  float* const value = p.value;
  int32_t* const id = p.id;
  const Vec limit = set1(least);
  int64_t count = 0;
  each_vec(p.vocab, [=, &count](int64_t c, int64_t lanes) {
    if (!any(ge(load_part(x + c, lanes), limit))) return;
    for (int64_t i = c; i < c + lanes; i++) {
      value[count] = x[i];
      id[count] = (int32_t)i;
      count += x[i] >= least;
    }
  });
  p.count = count;
  each_vec(p.count, [&p](int64_t c, int64_t lanes) {
    store_part(p.weight + c, pool_weights(load_part(p.value + c, lanes), p.best, p.temperature), lanes);
  });
}

template <class Keep>
static void pool_filter(SamplePool& p, Keep keep) {
  int64_t kept = 0;
  for (int64_t i = 0; i < p.count; i++) {
    if (!keep(i)) continue;
    if (kept != i) p.swap(kept, i);
    kept++;
  }
  p.count = kept;
}

// All candidates of a positive weight. Like pool_widen, only before the first cut.
static void pool_complete(SamplePool& p) {
  if (p.complete) return;
  pool_gather(p, -kLargest);
  pool_filter(p, [&p](int64_t i) { return p.weight[i] > 0.0f; });
  p.complete = true;
}

static void pool_widen(SamplePool& p) {
  p.reach = p.reach == 0.0f ? kFirstReach : 2.0f * p.reach;
  const float least = p.best - p.reach * p.temperature;
  if (p.reach > kLastReach || least < -kLargest) {
    pool_complete(p);
  } else {
    pool_gather(p, least);
    p.complete = p.count == p.vocab;
  }
}

// Gathers until no missing candidate can have a weight of `least` or more (a little below: the exponential rounds).
static void pool_widen_to(SamplePool& p, double least) {
  while (!p.complete && 0.999 * least < ::exp(-(double)p.reach)) pool_widen(p);
}

// Splits lo .. hi - 1 around a candidate: those before it, then it; returns its place. The choice of the candidate
// decides the time only, never the result.
static int64_t pool_split(SamplePool& p, int64_t lo, int64_t hi, uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  p.swap(lo + (int64_t)(((uint64_t)(hi - lo) * state) >> 32), hi - 1);
  float *const value = p.value, *const weight = p.weight;
  int32_t* const id = p.id;
  const float pivot = value[hi - 1];
  const int32_t pivot_id = id[hi - 1];
  int64_t at = lo;
  for (int64_t j = lo; j < hi - 1; j++) {  // without a branch: which way it goes is a coin toss
    const float v = value[j], w = weight[j];
    const int32_t i = id[j];
    value[j] = value[at], weight[j] = weight[at], id[j] = id[at];
    value[at] = v, weight[at] = w, id[at] = i;
    at += (v > pivot) | ((v == pivot) & (i < pivot_id));
  }
  p.swap(at, hi - 1);
  return at;
}

// Moves the first n candidates of the order to the front, the last of them to place n - 1. 1 <= n <= count.
static void pool_first(SamplePool& p, int64_t n) {
  uint32_t state = 1;
  for (int64_t lo = 0, hi = p.count; hi - lo > 1;) {
    const int64_t at = pool_split(p, lo, hi, state);
    if (at == n - 1) return;
    if (at < n - 1) {
      lo = at + 1;
    } else {
      hi = at;
    }
  }
}

// Moves the shortest prefix of the order whose mass reaches `target` to the front and returns its length, at least 1
// and at most count; its last candidate stands last. kPast: the mass must pass `target`.
template <bool kPast>
static int64_t pool_mass_prefix(SamplePool& p, double target) {
  uint32_t state = 1;
  int64_t lo = 0, hi = p.count;
  double before = 0;
  const auto reaches = [target](double mass) { return kPast ? mass > target : mass >= target; };
  while (hi - lo > 1) {
    const int64_t at = pool_split(p, lo, hi, state);
    double upper = before;
    for (int64_t i = lo; i < at; i++) upper += (double)p.weight[i];
    if (at > lo && reaches(upper)) {
      hi = at;
      continue;
    }
    before = upper + (double)p.weight[at];
    lo = at + 1;
    if (reaches(before)) return lo;
  }
  return lo < p.count ? lo + 1 : p.count;
}

// Mass of all ids, in blocks of f32 trees that add up in double, in order.
static double pool_total(const SamplePool& p) {
  if (p.complete) return p.mass();
  constexpr int64_t kBlock = 1024;
  double sum = 0;
  for (int64_t b = 0; b < p.vocab; b += kBlock) {
    const float* x = p.x + b;
    const float best = p.best, temperature = p.temperature;
    sum += (double)tree_sum(p.vocab - b < kBlock ? p.vocab - b : kBlock, [=](Vec s, int64_t c, int64_t lanes) {
      const Vec e = pool_weights(load_part(x + c, lanes), best, temperature);
      return lanes >= 16 ? add(s, e) : add(s, select(first(lanes), e, zero()));
    });
  }
  return sum;
}

}  // namespace verdant::VERDANT_ISA
