#include "cpu/amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace residual::cpu {
namespace {

#if defined(__x86_64__)

constexpr unsigned kTileBits = 3u << 17;  // of XCR0: the tiles' configuration and their data

// Of leaf 7: AMX-BF16, AMX-TILE, AMX-INT8.
constexpr unsigned kAmxFeatures = 1u << 22 | 1u << 24 | 1u << 25;

bool processor_has_amx() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAmxFeatures) != kAmxFeatures) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileBits) == kTileBits;
}

bool ask_permission() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM; asm/prctl.h may lack it
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return true;  // where XCR0 has the bits, nothing more is to be asked
#endif
}

bool find_amx() { return processor_has_amx() && ask_permission(); }

#else

bool find_amx() { return false; }

#endif

}  // namespace

bool amx_available() {
  static const bool available = find_amx();
  return available;
}

}  // namespace residual::cpu
