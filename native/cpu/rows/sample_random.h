// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a function, not a stream.

namespace verdant::VERDANT_ISA {

enum SamplePurpose : uint32_t { kPurposeDraw = 0, kPurposeXtc = 1 };

struct Philox {
  uint32_t v[4];
};

static inline Philox philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
    const uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = (uint32_t)b;
    c2 = n2;
    c3 = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1) with 53 bits: the top 27 of the first word, then the top 26 of the second.
static inline double sample_uniform(const int32_t* integers, int64_t position, SamplePurpose purpose) {
  const Philox r = philox((uint32_t)integers[kSampleIndex], (uint32_t)position, (uint32_t)purpose, 0,
                          (uint32_t)integers[kSeedLow], (uint32_t)integers[kSeedHigh]);
  return ((double)(r.v[0] >> 5) * 67108864.0 + (double)(r.v[1] >> 6)) * (1.0 / 9007199254740992.0);
}

}  // namespace verdant::VERDANT_ISA
