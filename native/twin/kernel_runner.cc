#include "twin/kernel_runner.h"

namespace residual::twin {
namespace {

// Records the memory a kernel declares that it accesses.
struct Visitor {
  Accesses& accesses;
  const std::string& user;

  template <typename T>
  void read(const T* data, int64_t count) const {
    accesses.read(data, count * sizeof(T), user);
  }
  template <typename T>
  void write(T* data, int64_t count) const {
    accesses.write(data, count * sizeof(T), user);
  }
};

template <typename K>
void run_on_host(const cuda::KernelLaunch& launch, Memory& memory, const std::string& user) {
  const auto& args = *reinterpret_cast<const typename K::Args*>(launch.args);
  Accesses accesses(memory);
  K::accesses(args, Visitor{accesses, user});
  accesses.check();
  for (int64_t block = 0; block < launch.blocks; block++) {
    typename K::Shared shared;
    for (int p = 0; p < K::kPhases; p++)
      for (int thread = 0; thread < launch.threads; thread++)
        K::phase(p, args, shared, cuda::Thread{block, thread, launch.threads});
  }
}

}  // namespace

using namespace cuda;  // the kernel list uses unqualified names

void run_kernel(const cuda::KernelLaunch& launch, Memory& memory, const std::string& user) {
  switch (launch.kernel) {
#define RESIDUAL_RUN(name, ...) \
  case cuda::KernelId::name:    \
    return run_on_host<__VA_ARGS__>(launch, memory, user);
    RESIDUAL_KERNELS(RESIDUAL_RUN)
#undef RESIDUAL_RUN
  }
}

}  // namespace residual::twin
