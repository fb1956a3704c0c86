// Steps that change the logits of one sample before the draw, in the order of ops/sample.h.
#include "ops/kv_write.h"

namespace verdant::VERDANT_ISA {

// Ids at positions 0 .. length - 1 of one sequence, read through its blocks; -1 where a block is missing.
struct SampleHistory {
  const int32_t* tokens;
  const int32_t* table;
  int64_t blocks;
  int64_t length;

  int32_t id(int64_t position) const {
    const int64_t block = table[position / kPage];
    return block < 0 || block >= blocks ? -1 : tokens[block * kPage + position % kPage];
  }
};

// One sample: its parameters and its scratch.
struct SampleState {
  const OpCall* call;
  int64_t sample;
  const float* numbers;
  const int32_t* integers;
  SampleHistory history;
  int64_t vocab;
  float* x;         // (vocab) processed logits
  int32_t* counts;  // (vocab) zero between steps
  int32_t* suffix;  // (length) match lengths

  bool known(int32_t id) const { return id >= 0 && id < vocab; }
  // First position that the penalties look at.
  int64_t window_start() const {
    const int64_t window = integers[kPenaltyWindow];
    return window > 0 && window < history.length ? history.length - window : 0;
  }
};

enum SampleInput {
  kInLogits,
  kInNumbers,
  kInIntegers,
  kInRows,
  kInPositions,
  kInSeqIds,
  kInTokens,
  kInTable,
  kInBiasOffsets,
  kInBiasIds,
  kInBiasValues,
  kInBadOffsets,
  kInBadStarts,
  kInBadIds,
  kInStopOffsets,
  kInStopIds,
  kInBreakerOffsets,
  kInBreakerIds,
  kInAllowed,
};

// A sample's part of a CSR list.
struct SampleList {
  const int32_t* values;
  int64_t begin, end;
};

static inline SampleList sample_list(const SampleState& s, SampleInput offsets, SampleInput values) {
  const int32_t* at = (const int32_t*)s.call->in[offsets].data + s.sample;
  return {(const int32_t*)s.call->in[values].data, at[0], at[1]};
}

static inline bool sample_restricted(const SampleState& s) {
  return kInAllowed < s.call->in_count && s.call->in[kInAllowed].data != nullptr;
}

static inline bool sample_too_short(const SampleState& s) {
  return s.integers[kMinNew] > 0 && s.history.length - s.integers[kPromptLength] < s.integers[kMinNew];
}

// Whether any step below would act: if not, the logits are used where they lie.
static bool sample_processes(const SampleState& s) {
  const SampleList bias = sample_list(s, kInBiasOffsets, kInBiasIds), bad = sample_list(s, kInBadOffsets, kInBadStarts);
  return bias.begin < bias.end || bad.begin < bad.end || s.numbers[kRepetitionPenalty] != 1.0f ||
         s.numbers[kPresencePenalty] != 0.0f || s.numbers[kFrequencyPenalty] != 0.0f ||
         s.integers[kNoRepeatNgram] > 0 || sample_too_short(s) || sample_restricted(s) ||
         s.numbers[kDryMultiplier] != 0.0f;
}

static void sample_bias(const SampleState& s) {
  const SampleList bias = sample_list(s, kInBiasOffsets, kInBiasIds);
  const float* values = (const float*)s.call->in[kInBiasValues].data;
  for (int64_t i = bias.begin; i < bias.end; i++)
    if (s.known(bias.values[i])) s.x[bias.values[i]] += values[i];
}

// Each id of the window once: x / penalty where positive, x * penalty where negative (prompt included).
static void sample_repetition(const SampleState& s) {
  const float penalty = s.numbers[kRepetitionPenalty];
  if (penalty == 1.0f) return;
  const int64_t start = s.window_start();
  for (int64_t p = start; p < s.history.length; p++) {
    const int32_t id = s.history.id(p);
    if (!s.known(id) || s.counts[id]++ != 0) continue;
    s.x[id] = s.x[id] < 0.0f ? s.x[id] * penalty : s.x[id] / penalty;
  }
  for (int64_t p = start; p < s.history.length; p++)
    if (s.known(s.history.id(p))) s.counts[s.history.id(p)] = 0;
}

// x - count * frequency - (count > 0) * presence, counts over the generated ids of the window.
static void sample_presence(const SampleState& s) {
  const float presence = s.numbers[kPresencePenalty], frequency = s.numbers[kFrequencyPenalty];
  if (presence == 0.0f && frequency == 0.0f) return;
  const int64_t prompt = s.integers[kPromptLength] > 0 ? s.integers[kPromptLength] : 0;
  const int64_t start = prompt > s.window_start() ? prompt : s.window_start();
  for (int64_t p = start; p < s.history.length; p++)
    if (s.known(s.history.id(p))) s.counts[s.history.id(p)]++;
  for (int64_t p = start; p < s.history.length; p++) {
    const int32_t id = s.history.id(p);
    if (!s.known(id) || s.counts[id] == 0) continue;
    s.x[id] -= (float)s.counts[id] * frequency + presence;
    s.counts[id] = 0;
  }
}

// suffix[p] for p in start .. length - 2: how many ids ending at p equal those that end the history (not looking before
// start). The Z algorithm on the reversed ids: linear, whatever repeats.
static void sample_suffixes(const SampleState& s, int64_t start) {
  const int64_t n = s.history.length - start, last = s.history.length - 1;
  int64_t left = 0, right = 0;  // [left, right) is the match that reaches furthest
  for (int64_t i = 1; i < n; i++) {
    int64_t z = 0;
    if (i < right) {
      z = s.suffix[last - (i - left)];
      if (z > right - i) z = right - i;
    }
    while (i + z < n && s.history.id(last - z) == s.history.id(last - i - z)) z++;
    if (i + z > right) {
      left = i;
      right = i + z;
    }
    s.suffix[last - i] = (int32_t)z;
  }
}

// Bans the id that followed an earlier occurrence of the last n - 1 ids.
static void sample_no_repeat(const SampleState& s) {
  const int64_t n = s.integers[kNoRepeatNgram];
  if (n <= 0 || s.history.length < n) return;
  if (n > 1) sample_suffixes(s, 0);
  for (int64_t p = n - 1; p < s.history.length; p++) {
    const int32_t id = s.history.id(p);
    if (s.known(id) && (n == 1 || s.suffix[p - 1] >= n - 1)) s.x[id] = -INFINITY;
  }
}

// Bans the last id of a word whose other ids end the history.
static void sample_bad_words(const SampleState& s) {
  const SampleList words = sample_list(s, kInBadOffsets, kInBadStarts);
  const int32_t* ids = (const int32_t*)s.call->in[kInBadIds].data;
  for (int64_t w = words.begin; w < words.end; w++) {
    const int64_t begin = words.values[w], last = (int64_t)words.values[w + 1] - 1;
    if (last < begin || last - begin > s.history.length || !s.known(ids[last])) continue;
    bool match = true;
    for (int64_t i = begin; match && i < last; i++) match = s.history.id(s.history.length - (last - i)) == ids[i];
    if (match) s.x[ids[last]] = -INFINITY;
  }
}

static void sample_min_new(const SampleState& s) {
  if (!sample_too_short(s)) return;
  const SampleList stops = sample_list(s, kInStopOffsets, kInStopIds);
  for (int64_t i = stops.begin; i < stops.end; i++)
    if (s.known(stops.values[i])) s.x[stops.values[i]] = -INFINITY;
}

static void sample_allowed(const SampleState& s) {
  if (!sample_restricted(s)) return;
  const Tensor& allowed = s.call->in[kInAllowed];
  const uint32_t* words = (const uint32_t*)allowed.data + s.sample * allowed.dim[1];
  for (int64_t v = 0; v < s.vocab; v++)
    if (v / 32 >= allowed.dim[1] || (words[v / 32] >> (v % 32) & 1) == 0) s.x[v] = -INFINITY;
}

// Ids of the window after the last sequence breaker: no match is longer.
static int64_t sample_unbroken(const SampleState& s, int64_t start) {
  const SampleList breakers = sample_list(s, kInBreakerOffsets, kInBreakerIds);
  for (int64_t i = breakers.begin; i < breakers.end; i++)
    if (s.known(breakers.values[i])) s.counts[breakers.values[i]] = 1;
  int64_t p = s.history.length;
  while (p > start && !(s.known(s.history.id(p - 1)) && s.counts[s.history.id(p - 1)] != 0)) p--;
  for (int64_t i = breakers.begin; i < breakers.end; i++)
    if (s.known(breakers.values[i])) s.counts[breakers.values[i]] = 0;
  return s.history.length - p;
}

// An id that would prolong a repeat of `match` >= allowed ids: x - multiplier * base^(match - allowed).
static void sample_dry(const SampleState& s) {
  const double multiplier = (double)s.numbers[kDryMultiplier], base = (double)s.numbers[kDryBase];
  if (multiplier == 0.0) return;
  const int64_t allowed = s.integers[kDryAllowedLength] > 1 ? s.integers[kDryAllowedLength] : 1;
  const int64_t range = s.integers[kDryRange], length = s.history.length;
  const int64_t start = range > 0 && range < length ? length - range : 0;
  const int64_t longest = sample_unbroken(s, start);
  if (length - start <= allowed || longest < allowed) return;
  sample_suffixes(s, start);
  for (int64_t p = start; p + 1 < length; p++) {
    const int32_t id = s.history.id(p + 1);
    const int32_t match = s.suffix[p] < longest ? s.suffix[p] : (int32_t)longest;
    if (s.known(id) && match >= allowed && match > s.counts[id]) s.counts[id] = match;
  }
  // As llama.cpp: the exponent stops where base^exponent leaves the float range.
  const double limit = base > 1.000001 ? floor(88.7228391 / log(base)) : 1e9;
  for (int64_t p = start + 1; p < length; p++) {
    const int32_t id = s.history.id(p);
    if (!s.known(id) || s.counts[id] == 0) continue;
    const double exponent = (double)(s.counts[id] - allowed);
    s.x[id] = (float)((double)s.x[id] - multiplier * pow(base, exponent < limit ? exponent : limit));
    s.counts[id] = 0;
  }
}

// `shift` is taken from all logits first.
static void sample_process(const SampleState& s, const float* logits, double shift) {
  memcpy(s.x, logits, sizeof(float) * (size_t)s.vocab);
  for (int64_t i = 0; shift != 0.0 && i < s.vocab; i++) s.x[i] = (float)((double)logits[i] - shift);
  memset(s.counts, 0, sizeof(int32_t) * (size_t)s.vocab);
  sample_bias(s);
  sample_repetition(s);
  sample_presence(s);
  sample_no_repeat(s);
  sample_bad_words(s);
  sample_min_new(s);
  sample_allowed(s);
  sample_dry(s);
}

}  // namespace verdant::VERDANT_ISA
