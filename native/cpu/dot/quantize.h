// Rows of x to int8 for the kernels of int8.h.
namespace verdant::VERDANT_ISA {

// Up to 256 values (a multiple of 32) with a scale for each `block` (32 or 256): d = max |x| / 127, q = x / d to
// nearest even, sums of q over each 16. A block with a value that is not finite has the scale NaN.
static void quantize_chunk(const float* x, int64_t n, int64_t block, int8_t* q, float* d, int32_t* sums) {
  for (int64_t b = 0; b < n; b += block) {
    const int64_t size = n - b < block ? n - b : block;
    Vec most = zero(), nothing = zero();
    for (int64_t i = 0; i < size; i += 16) {
      const Vec v = load(x + b + i);
      most = max(abs(v), most);
      nothing = fma(v, zero(), nothing);
    }
    const float largest = reduce_max(most), bad = reduce_add(nothing);
    d[b / block] = largest * (1.0f / 127.0f) + bad;
    const Vec inverse = set1(largest > 1e-35f ? 127.0f / largest : 0.0f);  // its reciprocal is finite
    for (int64_t i = 0; i < size; i += 16) {
      // min and max turn what is not a number into one, so that the sums are those of q.
      const Vec v = min(max(round(mul(load(x + b + i), inverse)), set1(-127.0f)), set1(127.0f));
      store_s8(q + b + i, v);
      sums[(b + i) / 16] = (int32_t)reduce_add(v);
    }
  }
}

}  // namespace verdant::VERDANT_ISA
