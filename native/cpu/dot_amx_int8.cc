// int8 convolutions on AMX's tiles.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#include "cpu/dot_amx_impl.h"

namespace residual::cpu {
namespace {

struct UnsignedProducts {
  static void upper_left() { _tile_dpbusd(0, 4, 6); }
  static void upper_right() { _tile_dpbusd(1, 4, 7); }
  static void lower_left() { _tile_dpbusd(2, 5, 6); }
  static void lower_right() { _tile_dpbusd(3, 5, 7); }
};

struct SignedProducts {
  static void upper_left() { _tile_dpbssd(0, 4, 6); }
  static void upper_right() { _tile_dpbssd(1, 4, 7); }
  static void lower_left() { _tile_dpbssd(2, 5, 6); }
  static void lower_right() { _tile_dpbssd(3, 5, 7); }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_with<SignedProducts>(task, finish) : run_with<UnsignedProducts>(task, finish);
}

}  // namespace

extern const DotKernels kAmxInt8Kernels = {"amx", /*unit=*/64,          kMostDotRows,         kTileRows,
                                           run,   /*winograd=*/nullptr, /*has_bounds=*/false, kManyRowBytes};

}  // namespace residual::cpu
#endif
