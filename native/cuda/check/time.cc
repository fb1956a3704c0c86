#include "cuda/check/time.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>

#include "core/error.h"
#include "core/weight_types.h"
#include "cuda/ceilings.h"
#include "cuda/check/cublaslt.h"
#include "cuda/check/decoder.h"
#include "cuda/check/pages.h"
#include "cuda/check/run.h"
#include "cuda/device.h"
#include "cuda/executable.h"

namespace verdant::check {
namespace {

const DecoderShape kShapes[] = {
    {"tiny", 256, 512, 2, 4, 2, 64, 1003},
    {"llama-3.2-1b", 2048, 8192, 16, 32, 8, 64, 128256},
    {"llama-3.1-8b", 4096, 14336, 32, 32, 8, 128, 128256},
};
constexpr int64_t kContext = 512;
// Weights that stand between two readings of the same bytes: several times an L2 cache.
constexpr int64_t kBetween = 256 << 20;
constexpr int32_t kRuns = 20;
constexpr double kSeconds = 2;  // of a figure at most, warm runs not counted

struct Ceilings {
  double copy = 0, read = 0, product = 0;
};

class Timer {
 public:
  explicit Timer(bool tiny) : tiny_(tiny) {}

  // `more`: encoders' arithmetic and other heads instead of decoders.
  bool run(const std::string& shapes) {
    const bool more = shapes == "more";
    guard("ceilings", [&] { ceilings(); });
    if (more || tiny_) {
      for (const DType type : {kF32, kF16}) guard("linear", [&] { linear(type, tiny_ ? 64 : 4096); });
      for (const DType type : {kF32, kBF16}) guard("attention", [&] { encoder_attention(type); });
      guard("attention", [&] { attention(tiny_ ? 17 : 8192, 8, 4, 256); });
    }
    if (more) return good_;
    guard("linear", [&] { linear(kBF16, tiny_ ? 64 : 8192); });
    for (const DType type : {kQ8_0, kQ4_K}) guard("linear", [&] { linear(type, tiny_ ? 256 : 4096); });
    guard("attention", [&] { attention(tiny_ ? 17 : 8192, 32, 8, 128); });
    for (const DecoderShape& shape : kShapes)
      if (shapes.empty() ? shape.name != "tiny" : shapes.find(shape.name) != std::string::npos)
        for (const DType type : {kBF16, kQ8_0, kQ4_K}) decoders(shape, type);
    return good_;
  }

 private:
  template <class F>
  void guard(const std::string& name, const F& f) {
    try {
      f();
    } catch (const Error& error) {
      const bool missing = std::string(error.code()) == "ERR_UNSUPPORTED";
      std::printf("%-8s %s: %s %s\n", missing ? "missing" : "FAILED", name.c_str(), error.code(), error.what());
      good_ = good_ && missing;
    }
  }

  void ceilings() {
    int32_t multiprocessors = 0;
    on_device(cuda::cuda_device(), [&] {
      cudaDeviceProp p{};
      cuda::check(cudaGetDeviceProperties(&p, 0));
      multiprocessors = p.multiProcessorCount;
      const cuda::Bandwidth found = cuda::measure_bandwidth(tiny_ ? 1 << 20 : int64_t{1} << 30, multiprocessors);
      ceilings_.copy = found.copy;
      ceilings_.read = found.read;
    });
    std::printf("ceiling  device copy %.0f GB/s (read and written), read %.0f GB/s\n", ceilings_.copy / 1e9,
                ceilings_.read / 1e9);
    std::string why;
    on_device(cuda::cuda_device(), [&] { ceilings_.product = measure_cublaslt(tiny_ ? 256 : 8192, why); });
    if (why.empty())
      std::printf("ceiling  cuBLASLt bf16 8192 x 8192 x 8192 %.0f TFLOP/s\n", ceilings_.product / 1e12);
    else
      std::printf("ceiling  cuBLASLt: none, %s\n", why.c_str());
  }

  // Median milliseconds of steps on the GPU; the first ones make memory and the graph.
  static double median_of(const Maker& m, const std::shared_ptr<Executable>& executable) {
    auto& timed = static_cast<cuda::CudaExecutable&>(*executable);
    timed.set_timing(true);
    std::vector<double> times;
    auto start = std::chrono::steady_clock::now();
    for (int32_t i = -4; i < kRuns; i++) {
      if (i == 0) start = std::chrono::steady_clock::now();
      check::run(cuda::cuda_device(), *executable, m.inputs);
      if (i >= 0) times.push_back(static_cast<double>(timed.milliseconds()));
      if (i >= 4 && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > kSeconds) break;
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  void linear(DType type, int64_t n) {
    const bool rounded = type != kF32 && type != kF16;
    Maker m("linear", {n}, {0}, rounded ? "bf16" : "f32");
    const int32_t w = m.matrix("w", type, n, n), x = m.normal_rows("x", n);
    const int32_t y = m.node("linear", {x, w, -1}, {{{n, n}}}, {{"compute", m.compute()}}, false)[0];
    const double ms = first_column(m, y), size = static_cast<double>(n), rate = 2e3 * size * size * size / ms;
    std::printf("time     linear %s %lld^3, x in f32%s: %.3f ms, %.0f TFLOP/s%s\n", dtype_name(type),
                static_cast<long long>(n), rounded ? " and rounded" : "", ms, rate / 1e12,
                share(rate, ceilings_.product, "cuBLASLt").c_str());
  }

  // Median milliseconds of what makes y, of which little goes back to the host.
  static double first_column(Maker& m, int32_t y) {
    m.node("slice", {y}, {{{m.rows(), 1}}}, {{"begin", 0.0}});
    return median_of(m, compile(cuda::cuda_device(), "cuda:0", m.program));
  }

  static std::map<std::string, Attr> attention_attrs(const char* source, int64_t heads, int64_t kv_heads,
                                                     int64_t head) {
    return {{"source", source},       {"layer", 0.0},
            {"heads", 1.0 * heads},   {"kv_heads", 1.0 * kv_heads},
            {"head_dim", 1.0 * head}, {"causal", source[0] == 'c'},
            {"window", 0.0},          {"scale", 1 / std::sqrt(1.0 * head)},
            {"softcap", 0.0}};
  }

  // Prefill of one sequence: the cache write and causal attention over it.
  void attention(int64_t n, int64_t all_heads, int64_t kv_heads, int64_t head) {
    Maker m("attention", {n}, {0}, "auto");
    const Pages pages(m, {n});
    const Places places({n}, {n});
    const int32_t keys = cache_state(m, "keys", kBF16, pages.blocks, kv_heads, head);
    const int32_t values = cache_state(m, "values", kBF16, pages.blocks, kv_heads, head);
    const int32_t table = m.ints("table", pages.table, {1, pages.columns});
    const int32_t positions = m.ints("kv_positions", places.positions);
    m.node("kv_write",
           {m.normal_rows("k", kv_heads * head), m.normal_rows("v", kv_heads * head), keys, values, table, positions,
            m.ints("seq_ids", places.seqs)},
           {}, {{"layer", 0.0}, {"kv_heads", 1.0 * kv_heads}, {"head_dim", 1.0 * head}});
    const int32_t y =
        m.node("attention",
               {m.normal_rows("q", all_heads * head), keys, values, m.ints("starts", m.starts()), table, positions},
               {{{n, all_heads * head}}}, attention_attrs("cache", all_heads, kv_heads, head), false)[0];
    const double ms = first_column(m, y);
    const double flops = 2.0 * static_cast<double>(n) * static_cast<double>((n + 1) * all_heads * head);
    std::printf(
        "time     attention prefill %lld, causal, %lld / %lld heads of %lld, bf16 cache, with its write: %.3f ms, %.0f "
        "TFLOP/s\n",
        static_cast<long long>(n), static_cast<long long>(all_heads), static_cast<long long>(kv_heads),
        static_cast<long long>(head), ms, flops / ms / 1e9);
  }

  // Of an encoder: all rows of each sequence, with the small linear that makes the values, whose type is attention's.
  void encoder_attention(DType type) {
    constexpr int64_t kHeads = 12, kHead = 64, kWidth = kHeads * kHead, kCols = 64;
    const int64_t n = tiny_ ? 17 : 512, sequences = tiny_ ? 2 : 32;
    const std::vector<int64_t> lengths(static_cast<size_t>(sequences), n);
    std::vector<int32_t> units;
    for (int32_t u = 0; u < sequences; u++) units.push_back(u);
    Maker m("encoder attention", lengths, units, "auto");
    const int32_t x = m.normal_rows("x", kCols), w = m.matrix("w", type, kWidth, kCols, 0.1);
    const int32_t v = m.node("linear", {x, w, -1}, {{{m.rows(), kWidth}}}, {{"compute", "auto"}}, false)[0];
    const int32_t y =
        m.node("attention", {m.normal_rows("q", kWidth), m.normal_rows("k", kWidth), v, m.ints("starts", m.starts())},
               {{{m.rows(), kWidth}}}, attention_attrs("rows", kHeads, kHeads, kHead), false)[0];
    const double ms = first_column(m, y), flops = 4.0 * static_cast<double>(sequences * n * n * kWidth);
    std::printf(
        "time     attention over %lld x %lld rows, 12 heads of 64, %s, with the linear of values: %.3f ms, %.0f "
        "TFLOP/s\n",
        static_cast<long long>(sequences), static_cast<long long>(n), dtype_name(type), ms, flops / ms / 1e9);
  }

  void decoders(const DecoderShape& shape, DType type) {
    DecoderOptions options = {type, type == kQ4_K ? kQ8_0 : type, kContext, "bf16", 1};
    options.distinct = std::min(shape.layers, kBetween / layer_bytes(shape, type) + 1);
    const std::string name = shape.name + " " + dtype_name(type);
    std::shared_ptr<Executable> held;  // keeps the weights while the next program is made
    const auto figure = [&](const std::string& what, const std::vector<int64_t>& lengths, int64_t context) {
      guard(name + " " + what, [&] {
        options.context = context;
        std::vector<int32_t> units;
        for (size_t u = 0; u < lengths.size(); u++) units.push_back(static_cast<int32_t>(u));
        Maker m(name, lengths, units, "auto");
        decoder(m, shape, options);
        const auto start = std::chrono::steady_clock::now();
        held = compile(cuda::cuda_device(), "cuda:0", m.program);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        print(name + " " + what, shape, options, m, median_of(m, held), seconds);
      });
    };
    for (const int64_t batch : tiny_ ? std::vector<int64_t>{1, 3} : std::vector<int64_t>{1, 8, 64})
      figure("decode, batch " + std::to_string(batch), std::vector<int64_t>(static_cast<size_t>(batch), 1),
             tiny_ ? 40 : kContext);
    for (const int64_t rows : tiny_ ? std::vector<int64_t>{17} : std::vector<int64_t>{512, 2048})
      figure("prefill " + std::to_string(rows), {rows}, 0);
  }

  void print(const std::string& name, const DecoderShape& shape, const DecoderOptions& o, const Maker& m, double ms,
             double seconds) const {
    const double weights = static_cast<double>(weight_bytes(shape, o)) * 1e3 / ms;
    const double cache = static_cast<double>(cache_bytes(shape, o, m.units())) * 1e3 / ms;
    const double flops = (row_flops(shape) * static_cast<double>(m.rows()) +
                          2.0 * static_cast<double>(shape.vocab * shape.hidden * m.units())) *
                         1e3 / ms;
    std::printf("time     %s: %.3f ms, %.0f tokens/s, ", name.c_str(), ms, static_cast<double>(m.rows()) * 1e3 / ms);
    if (o.context > 0)
      std::printf("weights %.0f GB/s%s, with cache %.0f GB/s", weights / 1e9,
                  share(weights, ceilings_.read, "read").c_str(), (weights + cache) / 1e9);
    else
      std::printf("%.0f TFLOP/s%s", flops / 1e12, share(flops, ceilings_.product, "cuBLASLt").c_str());
    std::printf(" (%lld layers' own weights, head %s, made in %.1f s)\n", static_cast<long long>(o.distinct),
                dtype_name(o.head), seconds);
  }

  static std::string share(double found, double ceiling, const char* name) {
    char text[64];
    std::snprintf(text, sizeof text, " = %.1f %% of %s", 100 * found / ceiling, name);
    return ceiling > 0 ? text : "";
  }

  const bool tiny_;
  bool good_ = true;
  Ceilings ceilings_;
};

}  // namespace

bool time_all(const std::string& shapes) { return Timer(shapes == "tiny").run(shapes); }

}  // namespace verdant::check
