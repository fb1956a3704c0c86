// Whether the tile instructions of AMX-BF16 and AMX-INT8 may run here.
#pragma once
#if defined(VERDANT_HAVE_X64) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace verdant {

// Linux gives a process the registers of tiles on demand, and then to all its threads. Nobody asks elsewhere: no tiles.
inline bool amx_allowed() {
#if defined(VERDANT_HAVE_X64) && defined(__linux__)
  static const bool allowed = [] {
    constexpr unsigned kNeeded = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, -TILE, -INT8 in edx of leaf 7
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kNeeded) == kNeeded &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return allowed;
#else
  return false;
#endif
}

}  // namespace verdant
