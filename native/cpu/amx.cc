#include "cpu/amx.h"

#include "cpu/x86_features.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace residual::cpu {
namespace {

bool ask_permission() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM; asm/prctl.h may lack it
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return true;  // where XCR0 has the bits, nothing more is to be asked
#endif
}

}  // namespace

bool amx_available() {
  static const bool available = x86_features().amx && ask_permission();
  return available;
}

}  // namespace residual::cpu
