#include "cpu/memory.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"

#if defined(__linux__) || defined(__APPLE__)
#include <sys/mman.h>
#define VERDANT_MMAP 1
#endif

namespace verdant {
namespace {

constexpr int64_t kHugePage = 2 << 20;

}  // namespace

Pages::Pages(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
#if defined(VERDANT_MMAP)
  void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  data_ = p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
#if defined(MADV_HUGEPAGE)
  if (data_ != nullptr && bytes >= 4 * kHugePage) madvise(data_, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
#else
  data_ = static_cast<uint8_t*>(std::calloc(1, static_cast<size_t>(bytes)));
#endif
  if (data_ == nullptr) {
    bytes_ = 0;
    throw Error("ERR_OUT_OF_MEMORY", "cannot allocate " + std::to_string(bytes) + " bytes");
  }
}

Pages::~Pages() {
#if defined(VERDANT_MMAP)
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
#else
  std::free(data_);
#endif
}

void Pages::reserve(int64_t bytes) {
  if (bytes <= bytes_) return;
  *this = Pages();  // the old memory goes first, so that both never exist at once
  *this = Pages(bytes);
}

}  // namespace verdant
