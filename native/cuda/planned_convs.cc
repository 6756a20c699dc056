#include "cuda/planned_convs.h"

#include <map>

namespace residual::cuda {

PlannedConvs planned_convs(const core::Plan& plan, const Layout& layout, int batch) {
  PlannedConvs result;
  result.spec_of_op.assign(plan.ops.size(), PlannedConvs::kNone);
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < plan.ops.size(); i++) {
    const core::Op& op = plan.ops[i];
    if (!core::row_of(op.kind).weighted || layout.method(op) != ConvMethod::kCudnn) continue;
    const ConvSpec spec = layout.spec(op, batch);
    const auto [found, is_new] = known.try_emplace(spec.key(), result.specs.size());
    if (is_new) result.specs.push_back(spec);
    result.spec_of_op[i] = found->second;
  }
  return result;
}

}  // namespace residual::cuda
