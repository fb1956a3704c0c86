// Cases of sample: a unit is a sample with its own options.
#include "cuda/check/maker.h"
#include "ops/list.h"

namespace verdant::check {
namespace {

constexpr int64_t kHistory = 45, kKinds = 16, kTop = 5;

struct Options {
  float number[kSampleNumbers] = {0, 1, 0, 1, 1, 0, 0, 0, 1.75f, 0, 0.1f, 5, 0.1f, 10};
  int32_t integer[kSampleIntegers] = {};
};

// What unit u asks for: one or two things each.
Options options(int32_t unit) {
  Options o;
  o.integer[kSeedLow] = 1000 + unit;
  o.integer[kSeedHigh] = 7;
  o.integer[kSampleIndex] = unit % 3;
  o.integer[kPromptLength] = 20;
  o.integer[kTopLogprobs] = unit % 2 == 0 ? static_cast<int32_t>(kTop) : 2;
  const int32_t kind = unit % kKinds;
  if (kind != 0) o.number[kTemperature] = kind == 1 ? 1.0f : 0.8f;
  if (kind == 2) o.integer[kTopK] = 40;
  if (kind == 3) o.number[kTopP] = 0.9f;
  if (kind == 4) o.number[kMinP] = 0.05f;
  if (kind == 5) o.number[kTypicalP] = 0.8f;
  if (kind == 6) o.number[kRepetitionPenalty] = 1.3f;
  if (kind == 7) o.number[kPresencePenalty] = 0.5f, o.number[kFrequencyPenalty] = 0.3f;
  if (kind == 8) o.integer[kNoRepeatNgram] = 2, o.integer[kPenaltyWindow] = 12;
  if (kind == 9) o.number[kDryMultiplier] = 0.8f, o.integer[kDryAllowedLength] = 1;
  if (kind == 10) o.number[kXtcProbability] = 1;
  if (kind == 11) o.integer[kMirostat] = 2;
  if (kind == 12) o.integer[kTopK] = 50, o.number[kTopP] = 0.95f, o.number[kMinP] = 0.02f;
  if (kind == 13) o.integer[kMinNew] = 100;
  if (kind == 14) o.integer[kBeam] = 1, o.number[kTemperature] = 0;
  if (kind == 15) o.integer[kBeam] = 2, o.number[kTemperature] = 0;
  return o;
}

// Lists of each unit, as offsets and content.
struct Lists {
  std::vector<int32_t> offsets = {0}, ids;
  void end() { offsets.push_back(static_cast<int32_t>(ids.size())); }
};

struct Tables {
  std::vector<float> numbers, bias_values;
  std::vector<int32_t> integers, bad_offsets = {0}, bad_starts = {0}, bad_ids;
  Lists bias, stop, breaker;

  Tables(const Maker& m, int64_t vocab) {
    for (int64_t i = 0; i < m.units(); i++) {
      const Options o = options(m.unit(i));
      numbers.insert(numbers.end(), o.number, o.number + kSampleNumbers);
      integers.insert(integers.end(), o.integer, o.integer + kSampleIntegers);
      Random random = m.random("lists", i);
      for (int64_t n = 0; n < m.unit(i) % 4; n++) {
        bias.ids.push_back(static_cast<int32_t>(random.below(vocab)));
        bias_values.push_back(2 * random.normal());
      }
      bias.end();
      for (int64_t n = 0; n < m.unit(i) % 3; n++) {
        for (int64_t w = 0; w <= n; w++) bad_ids.push_back(static_cast<int32_t>(random.below(vocab)));
        bad_starts.push_back(static_cast<int32_t>(bad_ids.size()));
      }
      bad_offsets.push_back(static_cast<int32_t>(bad_starts.size()) - 1);
      stop.ids.push_back(3);
      stop.end();
      breaker.ids.push_back(4);
      breaker.end();
    }
  }
};

std::vector<int32_t> masks(const Maker& m, int64_t words) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < m.units(); i++)
    for (int64_t w = 0; w < words; w++)
      out.push_back(m.unit(i) % 2 == 0 ? -1 : static_cast<int32_t>(m.random("mask" + std::to_string(w), i).next()));
  return out;
}

void make(Maker& m, int64_t vocab, bool masked) {
  const int64_t n = m.units(), columns = (kHistory + kPage - 1) / kPage;
  const Tables t(m, vocab);
  std::vector<int32_t> ids, positions, seqs, rows, table;
  for (int64_t i = 0; i < n; i++) {
    Random random = m.random("history", i);
    for (int64_t p = 0; p < kHistory; p++) {
      ids.push_back(static_cast<int32_t>(random.below(p % 2 == 0 ? 12 : vocab)));
      positions.push_back(static_cast<int32_t>(p));
      seqs.push_back(static_cast<int32_t>(i));
    }
    rows.push_back(static_cast<int32_t>((i + 1) * kHistory - 1));
    for (int64_t c = 0; c < columns; c++) table.push_back(static_cast<int32_t>(n * columns - 1 - (i * columns + c)));
  }
  const int32_t tokens = m.state("tokens", kI32, n * columns, kPage);
  const int32_t pages = m.ints("table", table, {n, columns}), kv = m.ints("kv_positions", positions);
  const int32_t seq_ids = m.ints("seq_ids", seqs);
  m.node("token_write", {m.ints("ids", ids), tokens, pages, kv, seq_ids}, {});
  const int64_t biases = static_cast<int64_t>(t.bias_values.size()), words = (vocab + 31) / 32;
  std::vector<int32_t> in = {m.normal_rows("logits", vocab, 3),
                             m.floats("numbers", t.numbers, {n, kSampleNumbers}),
                             m.ints("integers", t.integers, {n, kSampleIntegers}),
                             m.ints("rows", rows),
                             kv,
                             seq_ids,
                             tokens,
                             pages,
                             m.ints("bias_offsets", t.bias.offsets),
                             m.ints("bias_ids", t.bias.ids),
                             m.floats("bias_values", t.bias_values, {biases}),
                             m.ints("bad_offsets", t.bad_offsets),
                             m.ints("bad_starts", t.bad_starts),
                             m.ints("bad_ids", t.bad_ids),
                             m.ints("stop_offsets", t.stop.offsets),
                             m.ints("stop_ids", t.stop.ids),
                             m.ints("breaker_offsets", t.breaker.offsets),
                             m.ints("breaker_ids", t.breaker.ids)};
  in.push_back(masked ? m.ints("allowed", masks(m, words), {n, words}) : -1);
  m.node("sample", in, {{{n}, kI32}, {{n}}, {{n, kTop}, kI32}, {{n, kTop}}, {{n}}});
}

}  // namespace

void add_sample_cases(std::vector<Case>& out) {
  for (const int64_t vocab : {67, 5003, 128256})
    for (const bool masked : {false, true}) {
      if (masked && vocab == 128256) continue;
      out.push_back({"sample", std::to_string(vocab) + " ids" + (masked ? ", masked" : ""),
                     std::vector<int64_t>(kKinds + 3, 1), 1e-11, [=](Maker& m) { make(m, vocab, masked); }});
    }
}

}  // namespace verdant::check
