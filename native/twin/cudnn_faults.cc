#include "twin/cudnn_faults.h"

#include <mutex>
#include <optional>
#include <set>

#include "cuda/cudnn.h"
#include "twin/watch.h"

namespace residual::twin {
namespace {

std::mutex mutex;
std::optional<cuda::Cudnn> real;
std::set<cudnnBackendDescriptor_t> plans;  // descriptors that are execution plans
int until_refusal = 0;
bool refuse_all = false;

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  const cudnnStatus_t status = real->BackendCreateDescriptor(type, descriptor);
  const std::lock_guard<std::mutex> lock(mutex);
  if (status == CUDNN_STATUS_SUCCESS && type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
    plans.insert(*descriptor);
  return status;
}

cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    plans.erase(descriptor);
  }
  return real->BackendDestroyDescriptor(descriptor);
}

cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor) {
  bool is_plan = false;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    is_plan = plans.count(descriptor) > 0;
    if (is_plan && until_refusal > 0 && --until_refusal == 0) {
      if (refuse_all) until_refusal = 1;
      return CUDNN_STATUS_NOT_SUPPORTED;
    }
  }
  if (!is_plan) return real->BackendFinalize(descriptor);
  pass_hold();  // one that is held up for too long is built after all: what waited for it has shown by then
  const cudnnStatus_t status = real->BackendFinalize(descriptor);
  if (status == CUDNN_STATUS_SUCCESS) done("plan built");
  return status;
}

}  // namespace

void stand_before_cudnn() {
  if (real) return;
  real = cuda::cudnn();
  cuda::Cudnn table = *real;
  table.BackendCreateDescriptor = create;
  table.BackendDestroyDescriptor = destroy;
  table.BackendFinalize = finalize;
  cuda::replace_cudnn(table);
}

void refuse_plans(int nth, bool all) {
  const std::lock_guard<std::mutex> lock(mutex);
  until_refusal = nth;
  refuse_all = all;
}

}  // namespace residual::twin
