#pragma once
#include "core/op.h"

namespace verdant {

// sample: one id per row of logits (samples, vocab).
//   numbers (samples, kSampleNumbers) f32 and integers (samples, kSampleIntegers) i32: parameters, columns below
//   rows (samples) i32: the step's row that each sample belongs to; kv_positions (rows), seq_ids (rows): as kv_write.
//     History of a sample: ids at positions 0 .. kv_positions[row] of its sequence, read from the tokens state by
//     table.
//   bias_offsets (sample_bounds) i32, bias_ids, bias_values: CSR, added to logits
//   bad_offsets (sample_bounds) i32 into bad_starts (n + 1) i32 into bad_ids i32: banned id sequences
//   stop_offsets (sample_bounds), stop_ids: ids that end a sequence; suppressed until min_new tokens were made
//   breaker_offsets (sample_bounds), breaker_ids: ids that a DRY match does not cross
//   allowed? (samples, words) i32: bit v of a row set = id v allowed
// Order: logprobs are taken from the raw logits; then bias, repetition, presence and frequency penalty, no-repeat
// n-gram, bad words, min_new, allowed, DRY; temperature, top-k, top-p, min-p, typical-p, XTC or mirostat; draw. Hugging
// Face's formulas and order where it has them (LogitsProcessor classes), llama.cpp's for presence, frequency, DRY, XTC,
// mirostat 2. temperature 0: the largest processed logit, lowest id on a tie. Random numbers: Philox 4x32-10 keyed by
// (seed), counter (sample_index, position, purpose): position is that of the new id.
// -> ids (samples) i32, -1 where the row holds a NaN or no id is allowed
//    logprobs (samples) f32 of that id; top_ids, top_logprobs (samples, top): the most likely, best first (top may be
//    0) mu (samples) f32: mirostat's state after this draw
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
