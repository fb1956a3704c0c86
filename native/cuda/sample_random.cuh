// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a function, not a stream.
#pragma once
#include "cuda/launch.cuh"
#include "ops/sample.h"

namespace verdant::cuda {

enum SamplePurpose : uint32_t { kPurposeDraw = 0, kPurposeXtc = 1 };

// Uniform in [0, 1) with 53 bits: the top 27 of the first word, then the top 26 of the second.
static __device__ __forceinline__ double sample_uniform(const int32_t* integers, int64_t position,
                                                        SamplePurpose purpose) {
  uint32_t c0 = static_cast<uint32_t>(integers[kSampleIndex]), c1 = static_cast<uint32_t>(position), c2 = purpose,
           c3 = 0, k0 = static_cast<uint32_t>(integers[kSeedLow]), k1 = static_cast<uint32_t>(integers[kSeedHigh]);
  for (int round = 0; round < 10; round++) {
    const uint32_t n0 = __umulhi(0xCD9E8D57u, c2) ^ c1 ^ k0, n2 = __umulhi(0xD2511F53u, c0) ^ c3 ^ k1;
    c1 = 0xCD9E8D57u * c2;
    c3 = 0xD2511F53u * c0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (static_cast<double>(c0 >> 5) * 67108864.0 + static_cast<double>(c1 >> 6)) * (1.0 / 9007199254740992.0);
}

}  // namespace verdant::cuda
