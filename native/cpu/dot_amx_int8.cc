// int8 convolutions on AMX's tiles.
#if defined(__x86_64__)
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

template <typename Products, DotType kDst>
void run_to(const DotTask& task) {
  if (!task.output.residual)
    run_with<Products, FinishInt8<kDst, DotType::kUint8, /*kHasResidual=*/false>>(task);
  else if (task.output.residual_type == DotType::kInt8)
    run_with<Products, FinishInt8<kDst, DotType::kInt8, true>>(task);
  else
    run_with<Products, FinishInt8<kDst, DotType::kUint8, true>>(task);
}

template <typename Products>
void run_from(const DotTask& task) {
  switch (task.output.type) {
    case DotType::kInt8:
      return run_to<Products, DotType::kInt8>(task);
    case DotType::kUint8:
      return run_to<Products, DotType::kUint8>(task);
    default:
      return run_to<Products, DotType::kFp32>(task);
  }
}

void run(const DotTask& task) {
  task.is_signed ? run_from<SignedProducts>(task) : run_from<UnsignedProducts>(task);
}

}  // namespace

extern const DotKernels kAmxInt8Kernels = {"amx", /*unit=*/64, kMostDotRows, kTileRows, run};

}  // namespace residual::cpu
#endif
