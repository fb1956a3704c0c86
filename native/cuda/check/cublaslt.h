#pragma once
#include <cstdint>
#include <string>

namespace verdant::check {

// Operations per second of cuBLASLt's bf16 product of random (n, n) matrices, f32 sums; 0 and `why` where there is
// none.
double measure_cublaslt(int64_t n, std::string& why);

}  // namespace verdant::check
