// Compiles plans on a machine without a GPU, from cuDNN's own description of the GPU that will run them.
#include <cstdlib>

#include "core/backend.h"
#include "core/error.h"
#include "cuda/layout.h"
#include "cuda/plan_builder.h"
#include "cuda/planned_convs.h"

namespace residual::core {
namespace {

cuda::Descriptor describe_gpu(const std::string& json) {
  cuda::Descriptor gpu(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  try {
    gpu.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json).finalize("describe a GPU");
  } catch (const Error& error) {
    throw Error(ErrorCode::kGpuInvalid, std::string("This is not a description of a GPU: ") + error.what());
  }
  return gpu;
}

// cuDNN has accepted the text, so it is JSON, and these members appear at its top level and nowhere else.
int integer_member(const std::string& json, const char* name) {
  const std::string quoted = "\"" + std::string(name) + "\"";
  size_t at = json.find(quoted);
  if (at != std::string::npos) at = json.find_first_not_of(" \t\r\n:", at + quoted.size());
  const int value = at == std::string::npos ? 0 : std::atoi(json.c_str() + at);
  if (value <= 0)
    throw Error(ErrorCode::kGpuInvalid,
                "The description of the GPU needs a positive number '" + std::string(name) + "'.");
  return value;
}

}  // namespace

std::vector<CompiledOp> compile_ahead(const Plan& plan, const CompileOptions& options) {
  cuda::Descriptor gpu = describe_gpu(options.gpu);
  const int capability = integer_member(options.gpu, "deviceVer") / 10;
  const int multiprocessors = integer_member(options.gpu, "multiProcessorCount");
  const cuda::Layout layout(plan, cuda::supported_precision(options.precision, capability));
  const cuda::PlannedConvs convs = cuda::planned_convs(plan, layout, options.batch);
  const cuda::PlanBuilder builder(std::move(gpu), cuda::gpu_name(capability, multiprocessors),
                                  cuda::PlanCache(options.cache_folder), options.threads);
  const std::vector<cuda::BuiltPlan> built = builder.build(convs.specs);

  std::vector<CompiledOp> result;
  for (size_t op = 0; op < plan.ops.size(); op++) {
    CompiledOp compiled;
    compiled.op = op;
    const size_t index = convs.spec_of_op[op];
    if (index != cuda::PlannedConvs::kNone) {
      compiled.key = convs.specs[index].key();
      compiled.cached = built[index].cached;
      compiled.reason = built[index].reason;
      if (built[index].plan) {
        compiled.json = built[index].plan->json;
        compiled.workspace_bytes = built[index].plan->workspace_bytes;
      }
    }
    result.push_back(std::move(compiled));
  }
  return result;
}

}  // namespace residual::core
