#include "cuda/sample_pool.cuh"
#include "cuda/sample_process.cuh"
#include "cuda/sample_random.cuh"
#include "cuda/sample_top.cuh"

namespace verdant::cuda {

constexpr int64_t kSampleBlocks = 64;  // a block takes samples b, b + 64, ...: bounds the workspace

// Draws an id from the processed logits; mu is mirostat's state. taken: what was gathered of them; or null.
static __device__ int32_t sample_id(const SampleState& s, SampleShared& shared, SamplePool& p,
                                    const GatheredPart* taken, float& mu) {
  const int64_t position = s.history.length;
  if (taken == nullptr || pool_first_least(p) < -kLargest)
    pool_widen(p, shared);
  else
    pool_take(p, shared, taken, s.args.parts, s.args.part, s.ids());
  sample_top_k(p, shared, s.integers[kTopK]);
  sample_top_p(p, shared, static_cast<double>(s.numbers[kTopP]));
  sample_min_p(p, shared, static_cast<double>(s.numbers[kMinP]));
  sample_typical(p, shared, static_cast<double>(s.numbers[kTypicalP]));
  const double xtc = static_cast<double>(s.numbers[kXtcProbability]);
  if (xtc > 0.0 && sample_uniform(s.integers, position, kPurposeXtc) < xtc)
    sample_xtc(p, shared, static_cast<double>(s.numbers[kXtcThreshold]));
  const bool mirostat = s.integers[kMirostat] == 2;
  if (mirostat) sample_mirostat(p, shared, static_cast<double>(mu));
  const uint64_t total = p.total();
  const double uniform = sample_uniform(s.integers, position, kPurposeDraw);
  const int32_t id = sample_draw(p, shared, uniform, static_cast<double>(total));
  if (mirostat && id >= 0) {
    const double surprise = -log2(static_cast<double>(p.weight(p.x[id])) / p.weight_of(total));
    mu = static_cast<float>(static_cast<double>(mu) - static_cast<double>(s.numbers[kMirostatEta]) *
                                                          (surprise - static_cast<double>(s.numbers[kMirostatTau])));
  }
  return id;
}

// The state of a sample, and its scratch: that of block `block`.
static __device__ SampleState sample_state(const SampleArgs& a, int64_t sample, int64_t block) {
  float* const x = a.scratch + block * 3 * a.stride;
  return {a,
          sample,
          a.numbers + sample * kSampleNumbers,
          a.integers + sample * kSampleIntegers,
          sample_history(a, sample),
          x,
          reinterpret_cast<int32_t*>(x + 2 * a.stride)};
}

// Whether x of a state is used; if not, the logits are used where they lie.
static __device__ bool sample_changes(const SampleState& s) { return s.integers[kBeam] != 0 || sample_processes(s); }

// Scans one part of one sample.
static __global__ void __launch_bounds__(kSampleThreads) sample_scan_kernel(const __grid_constant__ SampleArgs a) {
  wait_for_predecessors();
  __shared__ SampleShared shared;
  const int64_t part = blockIdx.x, sample = blockIdx.y, begin = part * a.part;
  const SamplePart found = sample_scan_part(shared, a.logits + sample * a.vocab, begin, min(begin + a.part, a.vocab));
  if (threadIdx.x == 0) a.scans[sample * a.parts + part] = found;
}

// Gathers the first candidates of one part of one sample, where it draws from the logits as they are.
static __global__ void __launch_bounds__(kSampleThreads) sample_gather_kernel(const __grid_constant__ SampleArgs a) {
  wait_for_predecessors();
  __shared__ SampleShared shared;
  const int64_t part = blockIdx.x, sample = blockIdx.y, begin = part * a.part;
  const SampleState s = sample_state(a, sample, sample);
  const float temperature = s.numbers[kTemperature];
  if (!(temperature > 0.0f) || sample_changes(s)) return;
  const SampleScan scan = sample_scan_of(a.scans + sample * a.parts, a.parts);
  if (!scan.sound) return;
  const SamplePool pool = sample_pool(a.logits + sample * a.vocab, a.vocab, scan.best, temperature, nullptr, nullptr);
  int32_t* const ids = s.ids() + begin;
  const PoolMass mass = pool_search<false>(pool, shared, pool_first_least(pool), begin, min(begin + a.part, a.vocab),
                                           [ids](int64_t at, int32_t id, float) { ids[at] = id; });
  if (threadIdx.x == 0) a.gathers[sample * a.parts + part] = {mass, shared.offsets[kSampleThreads]};
}

static __device__ void sample_one(const SampleArgs& a, SampleShared& shared, int64_t sample) {
  const float* logits = a.logits + sample * a.vocab;
  const SampleState s = sample_state(a, sample, blockIdx.x);
  float* const x = s.x;
  float* const value = x + a.stride;
  int32_t* const list = s.counts;  // ids; before that counts
  float mu = s.numbers[kMirostatMu];
  int32_t id = -1;
  const int32_t beam = s.integers[kBeam];
  const SampleScan raw =
      a.parts > 0 ? sample_scan_of(a.scans + sample * a.parts, a.parts) : sample_scan(shared, logits, a.vocab);
  const bool process = raw.sound && sample_changes(s);
  const GatheredPart* const taken = a.parts > 0 && !process ? a.gathers + sample * a.parts : nullptr;
  if (process) sample_process(s, shared, logits, beam != 0 ? raw.log_sum : 0.0);
  const float* const used = process ? x : logits;
  const SampleScan scan = process ? sample_scan(shared, x, a.vocab) : raw;
  if (scan.sound) {
    const float temperature = s.numbers[kTemperature];
    SamplePool pool = sample_pool(used, a.vocab, scan.best, temperature, value, list);
    id = temperature > 0.0f ? sample_id(s, shared, pool, taken, mu) : scan.id;
  }
  const int64_t wanted = !raw.sound ? 0 : min(int64_t{s.integers[kTopLogprobs]}, a.top);
  int32_t* const top_ids = a.top_ids + sample * a.top;
  float* const top_logprobs = a.top_logprobs + sample * a.top;
  const float best = beam != 0 ? scan.best : raw.best;
  const double log_sum = beam == 0 ? raw.log_sum : beam == 2 && id >= 0 ? scan.log_sum : 0.0;
  SamplePool pool = sample_pool(beam != 0 ? x : logits, a.vocab, best, 1.0f, value, list);
  const int64_t made = sample_top(pool, shared, wanted, log_sum, top_ids, top_logprobs);
  for (int64_t i = made + threadIdx.x; i < a.top; i += kSampleThreads) top_ids[i] = -1, top_logprobs[i] = -INFINITY;
  if (threadIdx.x == 0) {
    a.ids[sample] = id;
    a.logprobs[sample] = id < 0 ? NAN : static_cast<float>(static_cast<double>(logits[id]) - raw.log_sum);
    a.mu[sample] = mu;
  }
  __syncthreads();
}

static __global__ void __launch_bounds__(kSampleThreads) sample_kernel(const __grid_constant__ SampleArgs a) {
  wait_for_predecessors();
  __shared__ SampleShared shared;
  for (int64_t s = blockIdx.x; s < a.samples; s += gridDim.x) sample_one(a, shared, s);
}

static int64_t sample_stride(const OpCall& call) { return (call.in[0].dim[1] + 63) / 64 * 64; }

static int64_t sample_blocks(const OpCall& call) { return std::min(call.in[0].dim[0], kSampleBlocks); }

// Ids of a part: at most kMostParts parts. None where a part is a row, or where there are more rows than blocks.
static int64_t sample_part(const OpCall& call) {
  constexpr int64_t kLeast = kSampleUnroll * kSampleThreads;
  const int64_t vocab = call.in[0].dim[1], pieces = (vocab + kLeast - 1) / kLeast;
  return pieces < 2 || call.in[0].dim[0] > kSampleBlocks ? 0 : (pieces + kMostParts - 1) / kMostParts * kLeast;
}
static int64_t sample_parts(const OpCall& call) {
  const int64_t part = sample_part(call);
  return part == 0 ? 0 : (call.in[0].dim[1] + part - 1) / part;
}

static int64_t sample_workspace(const OpCall& call) {
  const auto part = static_cast<int64_t>(sizeof(SamplePart) + sizeof(GatheredPart));
  return sample_blocks(call) * (12 * sample_stride(call) + sample_parts(call) * part);
}

template <class T>
static const T* sample_data(const OpCall& call, int32_t input) {
  return static_cast<const T*>(call.in[input].data);
}

static SampleArgs sample_args(const OpCall& call) {
  const auto ints = [&call](int32_t input) { return sample_data<int32_t>(call, input); };
  SampleArgs a{};
  a.samples = call.in[0].dim[0];
  a.vocab = call.in[0].dim[1];
  a.top = call.out[2].dim[1];
  a.rows = call.in[4].dim[0];
  a.seqs = call.in[7].dim[0];
  a.pages = call.in[7].dim[1];
  a.blocks = call.in[6].dim[0];
  a.logits = sample_data<float>(call, 0);
  a.numbers = sample_data<float>(call, 1);
  a.integers = ints(2);
  a.row = ints(3);
  a.kv_positions = ints(4);
  a.seq_ids = ints(5);
  a.tokens = ints(6);
  a.table = ints(7);
  a.bias = {ints(8), ints(9)};
  a.bias_values = sample_data<float>(call, 10);
  a.bad = {ints(11), ints(12)};
  a.bad_ids = ints(13);
  a.stop = {ints(14), ints(15)};
  a.breaker = {ints(16), ints(17)};
  if (call.in_count > 18 && call.in[18].data != nullptr) {
    a.allowed = ints(18);
    a.words = call.in[18].dim[1];
  }
  a.ids = static_cast<int32_t*>(call.out[0].data);
  a.logprobs = static_cast<float*>(call.out[1].data);
  a.top_ids = static_cast<int32_t*>(call.out[2].data);
  a.top_logprobs = static_cast<float*>(call.out[3].data);
  a.mu = static_cast<float*>(call.out[4].data);
  a.scratch = reinterpret_cast<float*>(call.workspace);
  a.stride = sample_stride(call);
  a.part = sample_part(call);
  a.parts = sample_parts(call);
  a.scans = reinterpret_cast<SamplePart*>(a.scratch + sample_blocks(call) * 3 * a.stride);
  a.gathers = reinterpret_cast<GatheredPart*>(a.scans + a.samples * a.parts);
  return a;
}

static void sample_run(const OpCall& call, const Gpu& gpu) {
  const SampleArgs a = sample_args(call);
  const dim3 parts(static_cast<unsigned>(a.parts), static_cast<unsigned>(a.samples));
  launch(sample_scan_kernel, parts, kSampleThreads, 0, gpu, a);
  launch(sample_gather_kernel, parts, kSampleThreads, 0, gpu, a);
  launch(sample_kernel, static_cast<unsigned>(sample_blocks(call)), kSampleThreads, 0, gpu, a);
}

extern const CudaOp sample_op;
const CudaOp sample_op = {sample_run, sample_workspace};

}  // namespace verdant::cuda
