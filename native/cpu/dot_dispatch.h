// Chooses how sums are finished by the types of a task, among what dot_finish_*.h define. In an unnamed
// namespace, as kernels_impl.h explains.
#pragma once

#include "cpu/dot_finish.h"

namespace residual::cpu {
namespace {

// finish_rows with a class of what is done to a row.
using FinishRows = void (*)(const DotTask&, const DotBlock&, int begin, int end, int panel, const int32_t*);

template <template <DotType, DotType, bool> class Finish, DotType kDst>
inline FinishRows finish_int8_to(const DotOutput& output) {
  if (!output.residual) return finish_rows<Finish<kDst, DotType::kUint8, /*kHasResidual=*/false>>;
  return output.residual_type == DotType::kInt8 ? finish_rows<Finish<kDst, DotType::kInt8, true>>
                                                : finish_rows<Finish<kDst, DotType::kUint8, true>>;
}

template <template <DotType, DotType, bool> class Finish>
inline FinishRows finish_int8(const DotOutput& output) {
  switch (output.type) {
    case DotType::kInt8:
      return finish_int8_to<Finish, DotType::kInt8>(output);
    case DotType::kUint8:
      return finish_int8_to<Finish, DotType::kUint8>(output);
    default:
      return finish_int8_to<Finish, DotType::kFp32>(output);
  }
}

template <template <DotType, bool> class Finish>
inline FinishRows finish_bf16(const DotOutput& output) {
  if (output.type == DotType::kFp32)
    return output.residual ? finish_rows<Finish<DotType::kFp32, true>>
                           : finish_rows<Finish<DotType::kFp32, false>>;
  return output.residual ? finish_rows<Finish<DotType::kBf16, true>>
                         : finish_rows<Finish<DotType::kBf16, false>>;
}

}  // namespace
}  // namespace residual::cpu
