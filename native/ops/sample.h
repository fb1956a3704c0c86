#pragma once
#include "core/op.h"

namespace verdant {

// sample: one id per row of logits (samples, vocab).
//   numbers (samples, kSampleNumbers) f32 and integers (samples, kSampleIntegers) i32: parameters, columns below
//   rows (samples) i32: the step's row that each sample belongs to; kv_positions (rows), seq_ids (rows): as kv_write.
//     History: ids at positions 0 .. kv_positions[row] of its sequence, read from the tokens state by table.
//   bias_offsets (sample_bounds) i32, bias_ids, bias_values: CSR, added to logits
//   bad_offsets (sample_bounds) i32 into bad_starts (n + 1) i32 into bad_ids i32: banned id sequences
//   stop_offsets (sample_bounds), stop_ids: ids that end a sequence; suppressed until min_new tokens were made
//   breaker_offsets (sample_bounds), breaker_ids: ids that a DRY match does not cross
//   allowed? (samples, words) i32: bit v of a row set = id v allowed
//
// Steps in this order, each absent where its parameter is off; x = logits. HF: transformers' LogitsProcessor classes,
// order of GenerationMixin._get_logits_processor; LC: llama.cpp's samplers.
//   logprobs: log softmax of the raw logits
//   bias: x[id] += value
//   repetition (HF): each id of the last penalty_window, prompt too: x < 0 ? x * penalty : x / penalty
//   presence, frequency (LC): x -= count * frequency + presence for ids that occur in the window; only generated ids
//     are counted, those of the prompt are not, as in OpenAI's API
//   no_repeat_ngram n (HF): bans what followed an earlier occurrence of the last n - 1 ids
//   bad words (HF): bans the last id of a word whose other ids end the history
//   min_new (HF): bans the stop ids while fewer were generated
//   allowed: bans ids whose bit is 0
//   DRY (LC): m(id) = longest suffix of the history that also stands before an earlier id within dry_range, not across
//     a breaker; x[id] -= multiplier * base^(m - allowed_length) where m >= allowed_length >= 1
//   temperature (HF): p = softmax(x / temperature); 0: the largest x, lowest id on a tie, and no step below acts
//   top-k (HF): keeps the k largest and all that equal the k-th
//   top-p (HF): keeps the shortest prefix in descending order that has mass >= top_p, of what top-k left
//   min-p (HF): keeps p >= min_p * (largest p)
//   typical-p (HF): the shortest prefix in ascending order of |-log p - entropy| with mass >= typical_p, and ties
//   XTC (LC): with xtc_probability: of the ids with p >= threshold drops all but the least likely
//   mirostat 2 (LC): drops ids with -log2 p > mu, one stays; after the draw mu -= eta * (-log2 p' - tau), where p' is
//     renormalised over what stayed
//   draw: in descending order, lower id first on a tie: the first whose cumulative mass passes u * total, in double
//
// Beams (HF's _beam_search): x = log softmax of the raw logits before all steps, and top_ids, top_logprobs are the
// largest x after them (beam 2: less the log of their sum of exponentials) instead of the raw ones.
//
// Random numbers: Philox 4x32-10, key (seed_low, seed_high), counter (sample_index, position of the new id, purpose, 0)
// with purpose 0 for the draw, 1 for XTC's coin; u = ((r0 >> 5) * 2^26 + (r1 >> 6)) / 2^53, in [0, 1).
// A row's results depend on its own logits, parameters and history only.
//
// -> ids (samples) i32, -1 where the row holds NaN or +inf, or no id is allowed: an error of that row alone
//    logprobs (samples) f32 of that id, NaN where there is none
//    top_ids, top_logprobs (samples, top): the most likely of the raw logits, best first, lower id first on a tie;
//      -1 and -inf past a row's own top_logprobs. top may be 0
//    mu (samples) f32: mirostat's state after this draw. Not fed back: a loop of k > 1 steps cannot use mirostat
struct SampleAttrs {
  int64_t unused;
};

constexpr const char* kSampleNumberColumns[] = {"temperature",         // 0: greedy
                                                "top_p",               // 1: off
                                                "min_p",               // 0: off
                                                "typical_p",           // 1: off
                                                "repetition_penalty",  // 1: off
                                                "presence_penalty",    // 0: off
                                                "frequency_penalty",   // 0: off
                                                "dry_multiplier",      // 0: off
                                                "dry_base",
                                                "xtc_probability",  // 0: off
                                                "xtc_threshold",
                                                "mirostat_tau",  // used when integers.mirostat is 2
                                                "mirostat_eta",
                                                "mirostat_mu",  // state before this draw; starts at 2 tau
                                                nullptr};
enum SampleNumber : int32_t {
  kTemperature,
  kTopP,
  kMinP,
  kTypicalP,
  kRepetitionPenalty,
  kPresencePenalty,
  kFrequencyPenalty,
  kDryMultiplier,
  kDryBase,
  kXtcProbability,
  kXtcThreshold,
  kMirostatTau,
  kMirostatEta,
  kMirostatMu,
  kSampleNumbers,
};

constexpr const char* kSampleIntegerColumns[] = {
    "top_k",     // 0: off
    "seed_low",  // 64-bit seed, two halves
    "seed_high",
    "sample_index",     // which of the n completions of a request
    "prompt_length",    // positions below it are prompt: penalties of presence and frequency look past it
    "penalty_window",   // last ids that the penalties look at; 0: all
    "no_repeat_ngram",  // 0: off
    "min_new",          // new tokens before a stop id is allowed
    "dry_allowed_length",
    "dry_range",     // last ids that DRY looks at; 0: all
    "mirostat",      // 0 or 2
    "top_logprobs",  // how many of the most likely are wanted, <= top
    "beam",          // 1: candidates of a beam search; 2: renormalised
    nullptr};
enum SampleInteger : int32_t {
  kTopK,
  kSeedLow,
  kSeedHigh,
  kSampleIndex,
  kPromptLength,
  kPenaltyWindow,
  kNoRepeatNgram,
  kMinNew,
  kDryAllowedLength,
  kDryRange,
  kMirostat,
  kTopLogprobs,
  kBeam,
  kSampleIntegers,
};

constexpr const char* kSampleIn[] = {"logits",      "numbers",         "integers",    "rows",         "kv_positions",
                                     "seq_ids",     "tokens",          "table",       "bias_offsets", "bias_ids",
                                     "bias_values", "bad_offsets",     "bad_starts",  "bad_ids",      "stop_offsets",
                                     "stop_ids",    "breaker_offsets", "breaker_ids", "allowed?",     nullptr};
constexpr const char* kSampleOut[] = {"ids", "logprobs", "top_ids", "top_logprobs", "mu", nullptr};
constexpr AttrDef kSampleFields[] = {{nullptr, kAttrInt, 0, nullptr}};
constexpr OpDef kSampleDef = {"sample", kSampleIn, kSampleOut, kSampleFields, sizeof(SampleAttrs)};

}  // namespace verdant
