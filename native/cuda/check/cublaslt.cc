// The yardstick of products: cuBLASLt, where CMake found it.
#include "cuda/check/cublaslt.h"

#include "cuda/ceilings.h"

#if defined(VERDANT_HAVE_CUBLASLT)
#include <cublasLt.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/weight_types.h"
#include "cuda/check/maker.h"

namespace verdant::check {
namespace {

void must(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error("ERR_DEVICE", cublasLtGetStatusString(status));
}

cuda::DeviceBuffer random_bf16(const std::string& label, int64_t count, const cuda::Stream& stream) {
  std::vector<float> numbers = Random(label).normals(1 << 20);
  std::vector<uint8_t> stored(numbers.size() * 2);
  encode_from_f32(kBF16, numbers.data(), static_cast<int64_t>(numbers.size()), stored.data());
  cuda::DeviceBuffer out(2 * count);
  for (int64_t at = 0; at < out.bytes(); at += static_cast<int64_t>(stored.size()))
    cuda::check(cudaMemcpyAsync(out.data() + at, stored.data(),
                                std::min(stored.size(), static_cast<size_t>(out.bytes() - at)), cudaMemcpyHostToDevice,
                                stream));
  stream.wait();
  return out;
}

// y (n, n) = x w^T, all of bf16: in cuBLAS's columns, the transposed w times x.
class Product {
 public:
  explicit Product(int64_t n)
      : x_(random_bf16("x", n * n, stream_)), w_(random_bf16("w", n * n, stream_)), y_(2 * n * n) {
    must(cublasLtCreate(&handle_));
    must(cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t turned = CUBLAS_OP_T;
    must(cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned));
    must(cublasLtMatrixLayoutCreate(&layout_, CUDA_R_16BF, static_cast<uint64_t>(n), static_cast<uint64_t>(n), n));
    cublasLtMatmulPreference_t preference = nullptr;
    must(cublasLtMatmulPreferenceCreate(&preference));
    const size_t room = static_cast<size_t>(workspace_.bytes());
    must(
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room));
    int found = 0;
    must(cublasLtMatmulAlgoGetHeuristic(handle_, product_, layout_, layout_, layout_, layout_, preference, kChoices,
                                        choices_, &found));
    choices_found_ = found;
    cublasLtMatmulPreferenceDestroy(preference);
  }
  ~Product() {
    cublasLtMatrixLayoutDestroy(layout_);
    cublasLtMatmulDescDestroy(product_);
    cublasLtDestroy(handle_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  // Of the fastest algorithm that the heuristic offers.
  double best_ms() {
    double best = 0;
    for (int i = 0; i < choices_found_; i++) {
      const double ms = cuda::median_ms(stream_, 10, [&] { enqueue(choices_[i]); });
      if (best == 0 || ms < best) best = ms;
    }
    return best;
  }

 private:
  void enqueue(const cublasLtMatmulHeuristicResult_t& choice) {
    const float one = 1, zero = 0;
    must(cublasLtMatmul(handle_, product_, &one, w_.data(), layout_, x_.data(), layout_, &zero, y_.data(), layout_,
                        y_.data(), layout_, &choice.algo, workspace_.data(), static_cast<size_t>(workspace_.bytes()),
                        stream_));
  }

  static constexpr int kChoices = 8;
  cuda::Stream stream_;
  cuda::DeviceBuffer x_, w_, y_, workspace_{64 << 20};
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t layout_ = nullptr;
  cublasLtMatmulHeuristicResult_t choices_[kChoices];
  int choices_found_ = 0;
};

}  // namespace

double measure_cublaslt(int64_t n, std::string& why) {
  const double ms = Product(n).best_ms(), size = static_cast<double>(n);
  if (ms == 0) why = "cuBLASLt offers no algorithm";
  return ms == 0 ? 0 : 2e3 * size * size * size / ms;
}

}  // namespace verdant::check

#else

namespace verdant::check {

double measure_cublaslt(int64_t, std::string& why) {
  why = "built without cuBLASLt";
  return 0;
}

}  // namespace verdant::check
#endif
