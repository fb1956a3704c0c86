#include "cuda/attention_few.cuh"
#include "cuda/attention_hopper.cuh"
#include "cuda/attention_many.cuh"
#include "cuda/attention_probs.cuh"
#include "cuda/attention_rows.cuh"
#include "cuda/attention_tensor_few.cuh"
#include "cuda/attention_tensor_wide.cuh"
#include "cuda/fuse.h"

namespace verdant::cuda {

template <class T>
static const T* attention_input(const OpCall& call, AttentionInput i) {
  return i < call.in_count ? static_cast<const T*>(call.in[i].data) : nullptr;
}

static const AttentionAttrs& attrs_of(const OpCall& call) { return *static_cast<const AttentionAttrs*>(call.attrs); }
static bool is_cached(const OpCall& call) { return attrs_of(call).source == 0; }
static int64_t sequences_of(const OpCall& call) { return call.in[kAttStarts].dim[0] - 1; }
static bool wants_probs(const OpCall& call) { return call.out_count > 1 && call.out[1].data != nullptr; }

static KvForm form_of(const OpCall& call) {
  if (!is_cached(call)) {
    const bool tensor = call.compute == kComputeBF16 && kv_in_tiles(kBF16, attrs_of(call).head_dim);
    return tensor ? KvForm::kTiles : KvForm::kRows;
  }
  const DType type = call.in[kAttK].dtype;
  if (type != kBF16) return type == kU8 ? KvForm::kQ8 : KvForm::kF32;
  return kv_in_tiles(type, attrs_of(call).head_dim) ? KvForm::kTiles : KvForm::kBf16;
}

static AttentionArgs args_of(const OpCall& call) {
  const AttentionAttrs& attrs = attrs_of(call);
  const bool cached = is_cached(call);
  const Tensor &k = call.in[kAttK], &v = call.in[kAttV];
  AttentionArgs a = {};
  a.q = attention_input<float>(call, kAttQ);
  a.k = attention_input<uint8_t>(call, kAttK);
  a.v = attention_input<uint8_t>(call, kAttV);
  a.starts = attention_input<int32_t>(call, kAttStarts);
  a.key_starts = attention_input<int32_t>(call, kAttKeyStarts);
  if (a.key_starts == nullptr) a.key_starts = a.starts;
  a.bias = attention_input<float>(call, kAttBias);
  a.mask = attention_input<uint8_t>(call, kAttMask);
  a.slopes = attention_input<float>(call, kAttSlopes);
  a.relative = attention_input<float>(call, kAttRelative);
  a.places = attention_input<int32_t>(call, kAttPlaces);
  a.place_bias = attention_input<float>(call, kAttPlaceBias);
  a.y = static_cast<float*>(call.out[0].data);
  a.rows = call.in[kAttQ].dim[0];
  a.sequences = sequences_of(call);
  a.heads = attrs.heads;
  a.kv_heads = attrs.kv_heads;
  a.group = attrs.heads / attrs.kv_heads;
  a.head_dim = static_cast<int32_t>(attrs.head_dim);
  if (cached) {
    a.table = attention_input<int32_t>(call, kAttTable);
    a.positions = attention_input<int32_t>(call, kAttPositions);
    a.table_cols = call.in[kAttTable].dim[1];
    a.key_block = kv_element_bytes(k.dtype) * k.dim[1];
    a.value_block = kv_element_bytes(v.dtype) * v.dim[1];
    a.key_head = kv_head_bytes(k.dtype, attrs.head_dim, true);
    a.value_head = kv_head_bytes(v.dtype, attrs.head_dim, false);
    a.layer_heads = attrs.layer * attrs.kv_heads;
  }
  a.key_cols = a.bias != nullptr ? call.in[kAttBias].dim[2] : a.mask != nullptr ? call.in[kAttMask].dim[1] : 0;
  a.window = attrs.window;
  a.farthest = a.relative != nullptr ? call.in[kAttRelative].dim[0] / 2 : 0;
  a.bias_places = a.place_bias != nullptr ? call.in[kAttPlaceBias].dim[1] : 0;
  a.scale = static_cast<float>(attrs.scale);
  a.softcap = static_cast<float>(attrs.softcap);
  a.causal = attrs.causal != 0;
  if (wants_probs(call)) {
    a.probs = static_cast<float*>(call.out[1].data);
    a.prob_cols = call.out[1].dim[2];
  }
  return a;
}

constexpr int64_t kFewRows = 8;

// Queries of a block where rows are few.
static int few_queries(const OpCall& call) {
  if (form_of(call) == KvForm::kTiles) return kTensorFew;
  return attrs_of(call).heads / attrs_of(call).kv_heads > 4 ? 8 : 4;
}

// Short are sequences with the rows of a tile; with up to kFewRows where that is what sequences have here on average.
static SplitArgs split_of(const OpCall& call) {
  const AttentionAttrs& attrs = attrs_of(call);
  const int64_t group = attrs.heads / attrs.kv_heads, queries = few_queries(call), sequences = sequences_of(call);
  const int64_t mean = sequences == 0 ? 0 : (call.in[kAttQ].dim[0] + sequences - 1) / sequences;
  SplitArgs s = {};
  s.each = is_cached(call) && call.in[kAttQ].dim[0] <= sequences;
  s.size = group < queries && !s.each ? queries / group : 1;
  s.rows = s.each ? 1 : mean > kFewRows || mean == 0 ? s.size : (mean + s.size - 1) / s.size * s.size;
  s.parts = (s.size * group + queries - 1) / queries;
  s.table_chunks = is_cached(call) ? (call.in[kAttTable].dim[1] * kPage + kKeyChunk - 1) / kKeyChunk : 0;
  return s;
}

// Whether there can be a short sequence; and whether there can be another one.
static bool few_possible(const OpCall& call, const SplitArgs& s) {
  return s.each || sequences_of(call) > 1 || call.in[kAttQ].dim[0] <= s.rows;
}
static bool many_possible(const OpCall& call, const SplitArgs& s) { return !s.each && call.in[kAttQ].dim[0] > s.rows; }
// Rows that the former may have.
static int64_t few_rows(const OpCall& call, const SplitArgs& s) {
  return s.each ? call.in[kAttQ].dim[0] : sequences_of(call) * s.rows;
}

// Results of chunks, as result_index counts them.
static int64_t results_of(const OpCall& call, const SplitArgs& s) {
  const int64_t sequences = sequences_of(call);
  if (!few_possible(call, s)) return 0;
  const int64_t heads = attrs_of(call).heads;
  if (is_cached(call)) return few_rows(call, s) * s.table_chunks * heads;
  return (call.in[kAttK].dim[0] / kKeyChunk + sequences) * s.rows * heads;
}

// Floats of m and l of all rows, for probs.
static int64_t stats_count(const OpCall& call) {
  return wants_probs(call) ? 2 * call.in[kAttQ].dim[0] * attrs_of(call).heads : 0;
}

// Pages of rows that are laid in tiles; 0: none are.
static int64_t laid_pages(const OpCall& call) {
  if (is_cached(call) || form_of(call) != KvForm::kTiles) return 0;
  return row_pages(call.in[kAttK].dim[0], sequences_of(call));
}
// Bytes of their keys, a multiple of 256, and of their values.
static int64_t laid_bytes(const OpCall& call) {
  const AttentionAttrs& attrs = attrs_of(call);
  return (laid_pages(call) * attrs.kv_heads * attrs.head_dim * kPage * 2 + 255) / 256 * 256;
}

// Keys and values in tiles, sums of chunks, their states, stats.
int64_t attention_workspace(const OpCall& call) {
  return 2 * laid_bytes(call) +
         4 * (stats_count(call) + results_of(call, split_of(call)) * (attrs_of(call).head_dim + 2));
}

// Keys and values of rows go to the workspace, where `a` finds them from then on.
static void lay_rows(const OpCall& call, AttentionArgs& a, const Gpu& gpu) {
  auto* keys = reinterpret_cast<uint32_t*>(call.workspace);
  auto* values = reinterpret_cast<uint32_t*>(call.workspace + laid_bytes(call));
  const LaidRows rows = {attention_input<float>(call, kAttK),
                         attention_input<float>(call, kAttV),
                         a.key_starts,
                         keys,
                         values,
                         a.sequences,
                         a.kv_heads,
                         a.head_dim};
  launch(lay_rows_kernel, static_cast<unsigned>(laid_pages(call) * a.kv_heads), kLayThreads, 0, gpu, rows);
  a.k = reinterpret_cast<const uint8_t*>(keys);
  a.v = reinterpret_cast<const uint8_t*>(values);
  a.key_head = a.value_head = a.head_dim * kPage * 2;
  a.key_block = a.value_block = a.kv_heads * a.key_head;
}

// Results of chunks in rows that lie in y as they do in memory.
static void merge(const OpCall& call, const AttentionArgs& a, const SplitArgs& s, const RoundTarget& round,
                  const Gpu& gpu) {
  const bool log2 = form_of(call) == KvForm::kTiles;
  const int64_t rows = few_rows(call, s), wide = a.head_dim % 4 == 0 ? 4 : 1;
  launch(wide == 1 ? (log2 ? attention_merge_kernel<true, 1> : attention_merge_kernel<false, 1>)
                   : (log2 ? attention_merge_kernel<true, 4> : attention_merge_kernel<false, 4>),
         blocks_of(rows * a.heads * a.head_dim / wide, kMergeThreads), kMergeThreads, 0, gpu, a, s, rows, round);
}

// kernel: on blocks of `threads`, with the queries of few_queries. `more`: its last arguments.
template <class Kernel, class... More>
static void run_few(Kernel kernel, int threads, const OpCall& call, const AttentionArgs& a, SplitArgs s,
                    const RoundTarget& round, const Gpu& gpu, const More&... more) {
  const int64_t blocks = few_rows(call, s) / s.size * s.parts * a.kv_heads, fill = 4 * gpu.multiprocessors;
  const int64_t keys = is_cached(call) ? a.table_cols * kPage : call.in[kAttK].dim[0];
  const int64_t chunks = (keys + kKeyChunk - 1) / kKeyChunk, splits = (fill + blocks - 1) / blocks;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(splits < chunks ? splits
                                                                       : chunks > 0    ? chunks
                                                                                       : 1));
  s.tickets = a.head_dim % 4 == 0 && blocks <= kTickets ? gpu.tickets : nullptr;
  launch(kernel, grid, static_cast<unsigned>(threads), 0, gpu, a, s, round, more...);
  if (s.tickets == nullptr) merge(call, a, s, round, gpu);
}

// Blocks that take tiles of up to `queries` queries through all their keys: rows of a tile, its parts, their number.
struct ManyGrid {
  int64_t size, parts;
  unsigned blocks;
};
static ManyGrid many_grid(const AttentionArgs& a, int queries) {
  const int64_t size = a.group < queries ? queries / a.group : 1;
  const int64_t parts = (size * a.group + queries - 1) / queries;
  return {size, parts, static_cast<unsigned>((a.rows / size + a.sequences) * parts * a.kv_heads)};
}

template <KvForm kForm>
static void run_many(const AttentionArgs& a, const SplitArgs& s, const Gpu& gpu) {
  const ManyGrid grid = many_grid(a, kManyQueries);
  launch(a.head_dim > 2 * kWarp ? attention_many_kernel<kForm, 4> : attention_many_kernel<kForm, 2>, grid.blocks,
         kManyThreads, sizeof(ManyShared), gpu, a, grid.size, grid.parts, s.rows);
}

// Whether attention_hopper.cuh has it: its copies count rows of pages in 32 bits.
static bool in_tiles(const AttentionArgs& a, int64_t blocks, int cols, const Gpu& gpu) {
  return gpu.hopper.attention && plain_scores(a) && a.head_dim == cols &&
         blocks * a.key_block / (2 * cols) <= INT32_MAX && blocks * a.value_block / kColumnBytes <= INT32_MAX;
}

template <int kCols>
static void run_tile_kernel(const AttentionArgs& a, int64_t blocks, const SplitArgs& s, const Gpu& gpu) {
  const ManyGrid grid = many_grid(a, kTileQueries);
  TileAttention h = {};
  h.a = a;
  h.size = grid.size;
  h.parts = grid.parts;
  h.few = s.rows;
  h.key_rows = a.key_block / (2 * kCols);
  h.value_rows = a.value_block / kColumnBytes;
  h.keys = tensor_map(a.k, blocks * h.key_rows, kCols, 2 * kCols, kPage);
  h.values = tensor_map(a.v, blocks * h.value_rows, kPage, kColumnBytes, kCols, kColumnBytes);
  launch(attention_tile_kernel<kCols>, grid.blocks, kTileThreads, sizeof(TileShared<kCols>), gpu, h);
}

template <int kCols>
static void run_tensor_many(const OpCall& call, const AttentionArgs& a, const SplitArgs& s, const Gpu& gpu) {
  const ManyGrid grid = many_grid(a, kTensorQueries);
  if constexpr (kCols > 128) {
    launch(tensor_wide_kernel<kCols>, grid.blocks, kTensorThreads, sizeof(WideShared<kCols>), gpu, a, grid.size,
           grid.parts, s.rows);
  } else {
    const int64_t blocks = is_cached(call) ? call.in[kAttK].dim[0] : laid_pages(call);
    if (in_tiles(a, blocks, kCols, gpu)) return run_tile_kernel<kCols>(a, blocks, s, gpu);
    launch(tensor_many_kernel<kCols>, grid.blocks, kTensorThreads, sizeof(TensorShared<kCols>), gpu, a, grid.size,
           grid.parts, s.rows);
  }
}

template <int kCols>
static void run_tensor_few(const OpCall& call, const AttentionArgs& a, const SplitArgs& s, const RoundTarget& round,
                           const TurnedWrite* write, const Gpu& gpu) {
  run_few(write != nullptr ? tensor_few_kernel<kCols, true> : tensor_few_kernel<kCols, false>,
          tensor_few_threads(kCols), call, a, s, round, gpu, write != nullptr ? *write : TurnedWrite{});
}

template <KvForm kForm, int kQ>
static void run_plain_few(const OpCall& call, const AttentionArgs& a, const SplitArgs& s, const RoundTarget& round,
                          const TurnedWrite* write, const Gpu& gpu) {
  constexpr bool kWritten = kForm == KvForm::kF32 || kForm == KvForm::kBf16;  // by single columns
  run_few(
      write != nullptr && kWritten ? attention_few_kernel<kForm, kQ, kWritten> : attention_few_kernel<kForm, kQ, false>,
      kAttentionThreads, call, a, s, round, gpu, write != nullptr ? *write : TurnedWrite{});
}

// `write`: with each row as a tile, where it is not null.
template <KvForm kForm>
static bool run_form(const OpCall& call, RoundTarget round, const Gpu& gpu, const TurnedWrite* write) {
  AttentionArgs a = args_of(call);
  SplitArgs s = split_of(call);
  if (a.rows == 0 || a.sequences == 0) return false;
  const int64_t results = results_of(call, s);
  if (laid_pages(call) > 0) lay_rows(call, a, gpu);
  s.sums = reinterpret_cast<float*>(call.workspace + 2 * laid_bytes(call));
  s.states = s.sums + results * a.head_dim;
  if (wants_probs(call)) a.stats = s.states + 2 * results;
  const bool few = few_possible(call, s), many = many_possible(call, s);
  if (many || a.head_dim % kHalfGroup != 0 || a.heads * a.head_dim % (2 * kHalfGroup) != 0) round = {};
  if constexpr (kForm == KvForm::kTiles) {
    const auto run = [&]<int kCols>() {
      if (few) run_tensor_few<kCols>(call, a, s, round, write, gpu);
      if (many) run_tensor_many<kCols>(call, a, s, gpu);
    };
    if (a.head_dim <= 64) {
      run.template operator()<64>();
    } else if (a.head_dim <= 128) {
      run.template operator()<128>();
    } else {
      run.template operator()<kTileHead>();
    }
  } else {
    if (few && few_queries(call) == 8) run_plain_few<kForm, 8>(call, a, s, round, write, gpu);
    if (few && few_queries(call) != 8) run_plain_few<kForm, 4>(call, a, s, round, write, gpu);
    if (many) run_many<kForm>(a, s, gpu);
  }
  if (a.probs != nullptr && a.prob_cols > 0)
    launch(attention_probs_kernel<kForm>, static_cast<unsigned>((a.rows + a.sequences) * a.kv_heads), kAttentionThreads,
           0, gpu, a);
  return round.wanted();
}

static bool run(const OpCall& call, const RoundTarget& round, const Gpu& gpu, const TurnedWrite* write) {
  switch (form_of(call)) {
    case KvForm::kF32:
      return run_form<KvForm::kF32>(call, round, gpu, write);
    case KvForm::kBf16:
      return run_form<KvForm::kBf16>(call, round, gpu, write);
    case KvForm::kTiles:
      return run_form<KvForm::kTiles>(call, round, gpu, write);
    case KvForm::kQ8:
      return run_form<KvForm::kQ8>(call, round, gpu, nullptr);
    case KvForm::kRows:
      break;
  }
  return run_form<KvForm::kRows>(call, round, gpu, nullptr);
}

bool attention_rows(const OpCall& call, const RoundTarget& round, const Gpu& gpu) {
  return run(call, round, gpu, nullptr);
}

// Without nodes of rope q and k pass.
static TurnedWrite turned_write(const OpCall* q, const OpCall* k, const OpCall& write, const OpCall& call) {
  const AttentionAttrs& attrs = attrs_of(call);
  const auto passing = [&](const Tensor& x) {
    return RopeTurn{static_cast<const float*>(x.data), nullptr, nullptr, x.dim[1], 0, attrs.head_dim, false};
  };
  return {q != nullptr ? rope_work(*q).turn : passing(call.in[kAttQ]),
          k != nullptr ? rope_work(*k).turn : passing(write.in[0]), float_input(write, 1), kv_places(write)};
}

bool turned_attention(const OpCall* q, const OpCall* k, const OpCall& write, const OpCall& call,
                      const RoundTarget& round, const Gpu& gpu) {
  const KvForm form = form_of(call);
  if (form == KvForm::kRows || form == KvForm::kQ8 || !split_of(call).each || wants_probs(call)) return false;
  const TurnedWrite turned = turned_write(q, k, write, call);
  if (form == KvForm::kTiles && turned.q.half % 4 != 0) return false;
  const AttentionAttrs& attrs = attrs_of(call);
  if (round.wanted() && (attrs.head_dim % kHalfGroup != 0 || attrs.heads * attrs.head_dim % (2 * kHalfGroup) != 0))
    return false;
  run(call, round, gpu, &turned);
  return true;
}

static void attention_run(const OpCall& call, const Gpu& gpu) { attention_rows(call, {}, gpu); }

static Compute attention_compute(const OpCall& call) {
  return form_of(call) == KvForm::kTiles ? kComputeBF16 : kComputeF32;
}

extern const CudaOp attention_op;
const CudaOp attention_op = {attention_run, attention_workspace, nullptr, attention_compute};

}  // namespace verdant::cuda
