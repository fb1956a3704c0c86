// Steps that change the logits of one sample before the draw, in the order of ops/sample.h. By a block; a step ends
// with a barrier. Where an id may come more than once, either one thread does all that concerns it, in order, or the
// first to come does it once: nothing depends on who that is.
#pragma once
#include "cuda/sample_block.cuh"
#include "ops/kv_write.h"

namespace verdant::cuda {

// Ids at positions 0 .. length - 1 of one sequence, read through its blocks; -1 where a block is missing.
struct SampleHistory {
  const int32_t* tokens;
  const int32_t* table;
  int64_t blocks;
  int64_t length;

  __device__ __forceinline__ int32_t id(int64_t position) const {
    const int64_t block = table[position / kPage];
    return block < 0 || block >= blocks ? -1 : tokens[block * kPage + position % kPage];
  }
};

// One sample: its parameters and its scratch.
struct SampleState {
  const SampleArgs& args;
  int64_t sample;
  const float* numbers;
  const int32_t* integers;
  SampleHistory history;
  float* x;         // (vocab) processed logits
  int32_t* counts;  // (vocab) zero between steps

  // (vocab) ids that blocks of parts gathered: where x is not used.
  __device__ __forceinline__ int32_t* ids() const { return reinterpret_cast<int32_t*>(x); }
  __device__ __forceinline__ bool known(int32_t id) const { return id >= 0 && id < args.vocab; }
  __device__ __forceinline__ int32_t begin(const SampleCsr& list) const { return list.offsets[sample]; }
  __device__ __forceinline__ int32_t end(const SampleCsr& list) const { return list.offsets[sample + 1]; }
  // First position that the penalties look at.
  __device__ __forceinline__ int64_t window_start() const {
    const int64_t window = integers[kPenaltyWindow];
    return window > 0 && window < history.length ? history.length - window : 0;
  }
  __device__ __forceinline__ bool too_short() const {
    return integers[kMinNew] > 0 && history.length - integers[kPromptLength] < integers[kMinNew];
  }
};

static __device__ SampleHistory sample_history(const SampleArgs& a, int64_t sample) {
  SampleHistory h = {a.tokens, a.table, a.blocks, 0};
  const int64_t row = a.row[sample];
  if (row < 0 || row >= a.rows) return h;
  const int64_t seq = a.seq_ids[row], length = int64_t{a.kv_positions[row]} + 1;
  if (seq < 0 || seq >= a.seqs || length < 0) return h;
  h.table += seq * a.pages;
  h.length = min(length, a.pages * kPage);
  return h;
}

// Whether any step below would act: if not, the logits are used where they lie.
static __device__ bool sample_processes(const SampleState& s) {
  return s.begin(s.args.bias) < s.end(s.args.bias) || s.begin(s.args.bad) < s.end(s.args.bad) ||
         s.numbers[kRepetitionPenalty] != 1.0f || s.numbers[kPresencePenalty] != 0.0f ||
         s.numbers[kFrequencyPenalty] != 0.0f || s.integers[kNoRepeatNgram] > 0 || s.too_short() ||
         s.args.allowed != nullptr || s.numbers[kDryMultiplier] != 0.0f;
}

// Every thread reads the whole list and adds what belongs to its ids.
static __device__ void sample_bias(const SampleState& s) {
  for (int32_t i = s.begin(s.args.bias), end = s.end(s.args.bias); i < end; i++) {
    const int32_t id = s.args.bias.values[i];
    if (s.known(id) && id % kSampleThreads == static_cast<int32_t>(threadIdx.x)) s.x[id] += s.args.bias_values[i];
  }
  __syncthreads();
}

// Each id of the window once: x / penalty where positive, x * penalty where negative (prompt included).
static __device__ void sample_repetition(const SampleState& s) {
  const float penalty = s.numbers[kRepetitionPenalty];
  if (penalty == 1.0f) return;
  const int64_t first = s.window_start() + threadIdx.x;
  for (int64_t p = first; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p);
    if (!s.known(id) || atomicExch(&s.counts[id], 1) != 0) continue;
    s.x[id] = s.x[id] < 0.0f ? s.x[id] * penalty : s.x[id] / penalty;
  }
  __syncthreads();
  for (int64_t p = first; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p);
    if (s.known(id)) s.counts[id] = 0;
  }
  __syncthreads();
}

// x - count * frequency - (count > 0) * presence, counts over the generated ids of the window.
static __device__ void sample_presence(const SampleState& s) {
  const float presence = s.numbers[kPresencePenalty], frequency = s.numbers[kFrequencyPenalty];
  if (presence == 0.0f && frequency == 0.0f) return;
  const int64_t first = max(max(int64_t{s.integers[kPromptLength]}, int64_t{0}), s.window_start()) + threadIdx.x;
  for (int64_t p = first; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p);
    if (s.known(id)) atomicAdd(&s.counts[id], 1);
  }
  __syncthreads();
  for (int64_t p = first; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p), count = s.known(id) ? atomicExch(&s.counts[id], 0) : 0;
    if (count != 0) s.x[id] -= static_cast<float>(count) * frequency + presence;
  }
  __syncthreads();
}

// How many ids that end at p, at most `most`, equal those that end the history, not looking before `start`.
static __device__ int64_t sample_match(const SampleHistory& h, int64_t start, int64_t p, int64_t most) {
  const int64_t room = min(most, p - start + 1), back = h.length - 1 - p;
  int64_t n = 0;
  while (n < room && h.id(p - n) == h.id(p + back - n)) n++;
  return n;
}

// Bans the id that followed an earlier occurrence of the last n - 1 ids.
static __device__ void sample_no_repeat(const SampleState& s) {
  const int64_t n = s.integers[kNoRepeatNgram];
  if (n <= 0) return;
  for (int64_t p = n - 1 + threadIdx.x; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p);
    if (s.known(id) && (n == 1 || sample_match(s.history, 0, p - 1, n - 1) == n - 1)) s.x[id] = -INFINITY;
  }
  __syncthreads();
}

// Bans the last id of a word whose other ids end the history.
static __device__ void sample_bad_words(const SampleState& s) {
  const int32_t* ids = s.args.bad_ids;
  for (int32_t w = s.begin(s.args.bad) + static_cast<int32_t>(threadIdx.x); w < s.end(s.args.bad);
       w += kSampleThreads) {
    const int64_t begin = s.args.bad.values[w], last = int64_t{s.args.bad.values[w + 1]} - 1;
    if (last < begin || last - begin > s.history.length || !s.known(ids[last])) continue;
    bool match = true;
    for (int64_t i = begin; match && i < last; i++) match = s.history.id(s.history.length - (last - i)) == ids[i];
    if (match) s.x[ids[last]] = -INFINITY;
  }
  __syncthreads();
}

static __device__ void sample_min_new(const SampleState& s) {
  if (!s.too_short()) return;
  for (int32_t i = s.begin(s.args.stop) + static_cast<int32_t>(threadIdx.x); i < s.end(s.args.stop);
       i += kSampleThreads)
    if (s.known(s.args.stop.values[i])) s.x[s.args.stop.values[i]] = -INFINITY;
  __syncthreads();
}

static __device__ void sample_allowed(const SampleState& s) {
  if (s.args.allowed == nullptr) return;
  const int32_t* words = s.args.allowed + s.sample * s.args.words;
  for (int64_t v = threadIdx.x; v < s.args.vocab; v += kSampleThreads)
    if (v / 32 >= s.args.words || (static_cast<uint32_t>(words[v / 32]) >> (v % 32) & 1) == 0) s.x[v] = -INFINITY;
  __syncthreads();
}

// Ids of the window after the last sequence breaker: no match is longer.
static __device__ int64_t sample_unbroken(const SampleState& s, SampleShared& shared, int64_t start) {
  const SampleCsr& list = s.args.breaker;
  const int32_t first = s.begin(list) + static_cast<int32_t>(threadIdx.x), end = s.end(list);
  for (int32_t i = first; i < end; i += kSampleThreads)
    if (s.known(list.values[i])) s.counts[list.values[i]] = 1;
  __syncthreads();
  int64_t after = start;
  for (int64_t p = start + threadIdx.x; p < s.history.length; p += kSampleThreads) {
    const int32_t id = s.history.id(p);
    if (s.known(id) && s.counts[id] != 0) after = p + 1;
  }
  after = sample_reduce(shared, after, [](int64_t a, int64_t b) { return max(a, b); });
  for (int32_t i = first; i < end; i += kSampleThreads)
    if (s.known(list.values[i])) s.counts[list.values[i]] = 0;
  __syncthreads();
  return s.history.length - after;
}

// An id that would prolong a repeat of `match` >= allowed ids: x - multiplier * base^(match - allowed).
static __device__ void sample_dry(const SampleState& s, SampleShared& shared) {
  const double multiplier = static_cast<double>(s.numbers[kDryMultiplier]),
               base = static_cast<double>(s.numbers[kDryBase]);
  if (multiplier == 0.0) return;
  const int64_t allowed = max(int64_t{s.integers[kDryAllowedLength]}, int64_t{1});
  const int64_t range = s.integers[kDryRange], length = s.history.length;
  const int64_t start = range > 0 && range < length ? length - range : 0;
  const int64_t longest = sample_unbroken(s, shared, start);
  if (length - start <= allowed || longest < allowed) return;
  // As llama.cpp: the exponent stops where base^exponent leaves the float range. No longer match is looked for.
  const double limit = base > 1.000001 ? floor(88.7228391 / log(base)) : 1e9;
  const int64_t most = min(longest, allowed + static_cast<int64_t>(limit));
  for (int64_t p = start + threadIdx.x; p + 1 < length; p += kSampleThreads) {
    const int32_t id = s.history.id(p + 1);
    if (!s.known(id)) continue;
    const int64_t match = sample_match(s.history, start, p, most);
    if (match >= allowed) atomicMax(&s.counts[id], static_cast<int32_t>(match));
  }
  __syncthreads();
  for (int64_t p = start + 1 + threadIdx.x; p < length; p += kSampleThreads) {
    const int32_t id = s.history.id(p), count = s.known(id) ? atomicExch(&s.counts[id], 0) : 0;
    if (count == 0) continue;
    const double exponent = static_cast<double>(count - allowed);
    s.x[id] = static_cast<float>(static_cast<double>(s.x[id]) - multiplier * pow(base, min(exponent, limit)));
  }
  __syncthreads();
}

// `shift` is taken from all logits first.
static __device__ void sample_process(const SampleState& s, SampleShared& shared, const float* logits, double shift) {
#pragma unroll 4
  for (int64_t c = threadIdx.x; c < s.args.vocab; c += kSampleThreads) {
    s.x[c] = shift != 0.0 ? static_cast<float>(static_cast<double>(logits[c]) - shift) : logits[c];
    s.counts[c] = 0;
  }
  __syncthreads();
  sample_bias(s);
  sample_repetition(s);
  sample_presence(s);
  sample_no_repeat(s);
  sample_bad_words(s);
  sample_min_new(s);
  sample_allowed(s);
  sample_dry(s, shared);
}

}  // namespace verdant::cuda
