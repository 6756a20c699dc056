// Chooses how sums are finished by the types of a task. Included after what defines FinishInt8 and
// FinishBf16, in an unnamed namespace as kernels_impl.h explains.
#pragma once

#include "cpu/dot_finish.h"

namespace residual::cpu {
namespace {

using FinishRows = decltype(&finish_rows<FinishBf16<DotType::kBf16, false>>);

template <DotType kDst>
inline FinishRows finish_int8_to(const DotOutput& output) {
  if (!output.residual) return finish_rows<FinishInt8<kDst, DotType::kUint8, /*kHasResidual=*/false>>;
  return output.residual_type == DotType::kInt8 ? finish_rows<FinishInt8<kDst, DotType::kInt8, true>>
                                                : finish_rows<FinishInt8<kDst, DotType::kUint8, true>>;
}

inline FinishRows finish_int8(const DotOutput& output) {
  switch (output.type) {
    case DotType::kInt8:
      return finish_int8_to<DotType::kInt8>(output);
    case DotType::kUint8:
      return finish_int8_to<DotType::kUint8>(output);
    default:
      return finish_int8_to<DotType::kFp32>(output);
  }
}

inline FinishRows finish_bf16(const DotOutput& output) {
  if (output.type == DotType::kFp32)
    return output.residual ? finish_rows<FinishBf16<DotType::kFp32, true>>
                           : finish_rows<FinishBf16<DotType::kFp32, false>>;
  return output.residual ? finish_rows<FinishBf16<DotType::kBf16, true>>
                         : finish_rows<FinishBf16<DotType::kBf16, false>>;
}

}  // namespace
}  // namespace residual::cpu
