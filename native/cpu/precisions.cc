#include "cpu/precisions.h"

#include <string>

#include "core/error.h"

namespace residual::cpu {
namespace {

using core::OpKind;
using core::Precision;

bool is_int8(Precision precision) { return precision == Precision::kInt8 || precision == Precision::kUint8; }

// Whether results of a source kept so may be kept as `dst`.
bool goes_to(Precision src, Precision dst) {
  return dst == Precision::kFp32 || (is_int8(src) ? is_int8(dst) : src == dst);
}

class Checker {
 public:
  Checker(const core::Plan& plan, const core::Op& op, const Isa& isa) : plan_(plan), op_(op), isa_(isa) {}

  void check() const {
    const core::Value& dst = plan_.dst(op_);
    if (dst.precision == Precision::kFp16) refuse("writes fp16, which the CPU backend has no kernels for");
    if (op_.kind == OpKind::kNormalize) {
      if (dst.precision == Precision::kInt8) refuse("writes int8, but an image's bytes are uint8");
      return;
    }
    const core::Value& src = plan_.src(op_);
    if (src.precision == Precision::kUint8 && op_.src == plan_.ops.front().dst && op_.kind != OpKind::kConv)
      refuse("reads an image's bytes, which only a convolution can");
    switch (op_.kind) {
      case OpKind::kConv:
      case OpKind::kLinear:
        return check_weighted(src, dst);
      case OpKind::kMaxPool:
        if (src.precision != dst.precision || src.scale != dst.scale)
          refuse("writes another precision or scale than it reads");
        return;
      case OpKind::kGlobalAvgPool:
        if (dst.precision != Precision::kFp32) refuse("does not write fp32");
        return;
      case OpKind::kConvert:
        return;
      default:
        if (src.precision != Precision::kFp32 || dst.precision != Precision::kFp32)
          refuse("takes and writes only fp32");
    }
  }

 private:
  void check_weighted(const core::Value& src, const core::Value& dst) const {
    if (!goes_to(src.precision, dst.precision))
      refuse(std::string("writes ") + name(dst) + " of " + name(src));
    if (dst.precision == Precision::kUint8 && !op_.relu) refuse("writes uint8 without a ReLU");
    if (src.precision != Precision::kFp32 && !dot_kernels_for(src.precision, isa_))
      refuse(std::string("computes in ") + name(src) + ", for which the instruction set " + isa_.name +
             " has no kernels");
    if (op_.residual == core::kNone) return;
    const core::Value& residual = plan_.values[op_.residual];
    if (is_int8(src.precision) ? !is_int8(residual.precision) : residual.precision != src.precision)
      refuse(std::string("adds ") + name(residual) + " to sums of " + name(src));
  }

  static const char* name(const core::Value& value) { return core::row_of(value.precision).name; }

  [[noreturn]] void refuse(const std::string& what) const {
    throw core::Error(core::ErrorCode::kPrecisionUnsupported,
                      "The plan's operation '" + op_.name + "' " + what + ".");
  }

  const core::Plan& plan_;
  const core::Op& op_;
  const Isa& isa_;
};

}  // namespace

const DotKernels* dot_kernels_for(Precision source, const Isa& isa) {
  if (is_int8(source)) return isa.int8;
  return source == Precision::kBf16 ? isa.bf16 : nullptr;
}

void check_precisions(const core::Plan& plan, const Isa& isa) {
  for (const core::Op& op : plan.ops) Checker(plan, op, isa).check();
}

}  // namespace residual::cpu
