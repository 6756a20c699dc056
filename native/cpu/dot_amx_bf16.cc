// bf16 convolutions on AMX's tiles.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#include "cpu/dot_amx_impl.h"

namespace residual::cpu {
namespace {

struct Products {
  static void upper_left() { _tile_dpbf16ps(0, 4, 6); }
  static void upper_right() { _tile_dpbf16ps(1, 4, 7); }
  static void lower_left() { _tile_dpbf16ps(2, 5, 6); }
  static void lower_right() { _tile_dpbf16ps(3, 5, 7); }
};

void run(const DotTask& task) { run_with<Products>(task, finish_bf16<FinishBf16>(task.output)); }

}  // namespace

extern const DotKernels kAmxBf16Kernels = {"amx", /*unit=*/64,          kMostDotRows,         kTileRows,
                                           run,   /*winograd=*/nullptr, /*has_bounds=*/false, kManyRowBytes};

}  // namespace residual::cpu
#endif
